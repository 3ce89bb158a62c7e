from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mirror.config import load
from mirror.errors import ConfigError


def load_warm(folder: Path, warm: str) -> object:
    file = folder / "mirror.yaml"
    file.write_text(f"upstreams: {{docker.io: , ghcr.io: {{aliases: [gh.example]}}}}\nwarm: {warm}\n")
    return load(file).warm.model_dump()


def test_nothing_is_listed_and_hot_tags_are_revalidated_by_default(tmp_path: Path) -> None:
    assert load_warm(tmp_path, "{}") == {
        "images": (),
        "file": None,
        "platforms": None,
        "every": timedelta(hours=6),
        "hot": True,
    }


def test_images_are_named_as_everywhere(tmp_path: Path) -> None:
    images = "[alpine, 'owner/app:1', 'ghcr.io/o/a:1', 'GH.example/o/a', 'docker.io/library/alpine:3.20']"
    assert load_warm(tmp_path, f"{{images: {images}, platforms: linux/arm64, every: null}}")


@pytest.mark.parametrize(
    ("warm", "message"),
    [
        ("{images: [alpine, 'UPPER']}", "warm.images.1: a repository name is"),
        ("{images: ['quay.io/a/b']}", "warm.images: quay.io/a/b is of quay.io, which is not among the upstreams"),
        ("{images: [7]}", "warm.images.0: expected is"),
        ("{platforms: [linux]}", "warm.platforms: a platform is os/architecture"),
        ("{platforms: []}", "warm.platforms: at least one platform is needed"),
        ("{every: 0s}", "warm.every: "),
        ("{every: 6}", "warm.every: a duration is a number with a unit"),
        ("{file: nowhere.txt}", "warm.file: nowhere.txt cannot be read: No such file or directory"),
        ("{hott: true}", "warm.hott: unknown key; did you mean hot?"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, warm: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_warm(tmp_path, warm)
    assert str(refused.value).startswith(message)
