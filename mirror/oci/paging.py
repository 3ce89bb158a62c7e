"""Pages of a list of tags: which one a client asks for, and where the next one begins. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from mirror.errors import InvalidPage
from mirror.oci.tags import place

LONGEST_PAGE = 10_000
"""Most tags in one answer, whatever was asked for; the rest is behind its Link."""

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Page:
    """Some tags in their order; `is_last` if there are none behind them."""

    tags: Sequence[str]
    is_last: bool


@dataclass(frozen=True, slots=True)
class PageAsked:
    """At most `size` tags, those behind `last`, which need not be one itself."""

    size: int
    last: str

    @classmethod
    def parse(cls, query: str) -> PageAsked:
        """Return what `n` and `last` ask for, where they are given; of several, the first counts.

        Raises InvalidPage if `n` is not a whole number.
        """
        values = parse_qs(query, keep_blank_values=True)
        [size, *_] = values.get("n", [str(LONGEST_PAGE)])
        if not _NUMBER.fullmatch(size):
            raise InvalidPage("n is the number of tags wanted: 0 or more")
        [last, *_] = values.get("last", [""])
        return cls(min(int(size), LONGEST_PAGE), last)

    def cut(self, tags: Sequence[str]) -> Page:
        """Return the page of these tags, which are in their order."""
        start = bisect_right(tags, place(self.last), key=place)
        stop = start + self.size
        # A page of none leads nowhere (the spec forbids it a Link).
        return Page(tags[start:stop], is_last=stop >= len(tags) or not self.size)

    def behind(self, page: Page, namespace: str | None) -> str:
        """Return the query that asks for what is behind `page`, in the same `ns`."""
        query = {"n": str(self.size), "last": page.tags[-1]}
        return urlencode(query if namespace is None else query | {"ns": namespace})
