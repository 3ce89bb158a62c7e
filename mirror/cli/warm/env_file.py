"""`.env` files: what Compose takes the values of variables from where the environment has none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from mirror.cli.warm.variables import Unresolved, expanded

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*')(?:\s+#.*)?")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def env_file(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return all values there are, the environment's first; lines that give none are passed over."""
    values = dict(environment)
    for line in filter(None, (_LINE.fullmatch(line.strip()) for line in text.splitlines())):
        if line[1] not in environment:
            with suppress(Unresolved):
                values[line[1]] = _meant(line[2].strip(), values)
    return values


def _meant(value: str, values: Mapping[str, str]) -> str:
    """Return a value without its quotes, and with the values that it is made of; raises Unresolved."""
    quoted = _QUOTED.fullmatch(value)
    bare = quoted[1][1:-1] if quoted else _COMMENT.sub("", value).rstrip()
    return bare if quoted and value[0] == "'" else expanded(bare, values)
