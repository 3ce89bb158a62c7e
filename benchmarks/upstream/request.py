"""A request as far as an upstream of benchmarks cares."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request, raw."""

    head: str

    @property
    def is_head(self) -> bool:
        """Tell whether no body is wanted."""
        return self.head.startswith("HEAD ")

    @property
    def path(self) -> str:
        """The path, without a query."""
        return self.head.split(" ", 2)[1].partition("?")[0]

    def header(self, name: str) -> str:
        """Return the value of a header, empty if it is not there."""
        found = re.search(rf"^{name}: *(.*?)\r$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""

    def span(self, size: int) -> tuple[int, int] | None:
        """Return the first byte that is wanted and the one after the last, of so many; None for all of them."""
        found = _RANGE.fullmatch(self.header("range"))
        if found is None:
            return None
        return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
