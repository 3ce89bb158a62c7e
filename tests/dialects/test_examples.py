"""The commented examples in config.yaml, each as somebody would switch it on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mirror.config import Config, load
from tests.dialects.examples import CONFIG, blocks, example, uncommented

EXAMPLES = sorted(blocks())


def test_there_are_as_many_as_the_page_says() -> None:
    assert len(EXAMPLES) == 13


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_as_it_stands(name: str, tmp_path: Path) -> None:
    """Apart from the files with secrets, which have to be somewhere."""
    text = uncommented(name).replace("/etc/mirror/", f"{tmp_path}/")
    for file in (example(name).get("credentials") or {}).values():
        if str(file).startswith("/etc/mirror/"):
            secret = tmp_path / str(file).removeprefix("/etc/mirror/")
            secret.parent.mkdir(exist_ok=True)
            secret.write_text("{}")
    file = tmp_path / "config.yaml"
    file.write_text(text)
    upstreams = load(file).upstreams
    assert set(upstreams) == {*Config().upstreams, name}
    assert bool(upstreams[name].credentials) is (upstreams[name].serve_private == "everyone")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    assert len(blocks()[name]) <= 6


def test_all_of_them_can_be_switched_on_at_once() -> None:
    lines = {number for block in blocks().values() for number in block}
    text = CONFIG.read_text().splitlines()
    switched = "\n".join(line.replace("# ", "", 1) if number in lines else line for number, line in enumerate(text))
    assert set(yaml.safe_load(switched)["upstreams"]) == {*Config().upstreams, *EXAMPLES}
