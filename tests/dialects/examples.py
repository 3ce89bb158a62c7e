"""The commented examples in config.yaml: a registry each, as they are once their `#` is taken off."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path(__file__).parent.parent.parent / "config.yaml"
_FIRST = re.compile(r"  # (\S+\.\S+):(?:\s|$)")
_LINE = re.compile(r"  #   ")


@cache
def blocks() -> dict[str, range]:
    """Return the lines of each example in the file, by the name of its upstream."""
    found: dict[str, range] = {}
    lines = CONFIG.read_text().splitlines()
    for start, line in enumerate(lines):
        if name := _FIRST.match(line):
            end = start + 1
            while end < len(lines) and _LINE.match(lines[end]):
                end += 1
            found[name[1]] = range(start, end)
    return found


def uncommented(name: str) -> str:
    """Return the whole file with this example switched on."""
    return "\n".join(
        line.replace("# ", "", 1) if number in blocks()[name] else line
        for number, line in enumerate(CONFIG.read_text().splitlines())
    )


def example(name: str) -> dict[str, Any]:
    """Return the fields of the example, or of what is shipped switched on."""
    text = uncommented(name) if name in blocks() else CONFIG.read_text()
    return dict(yaml.safe_load(text)["upstreams"][name] or {})
