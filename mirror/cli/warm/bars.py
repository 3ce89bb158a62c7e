"""A bar for each image that is being fetched, at the end of a terminal; whatever is printed goes above them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from mirror.cli.report import harmless, sized

_CELLS = 24
_CLEAR_BELOW = "\x1b[J"


class Bars:
    """Shows bars if `stream` is a terminal, else nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty()
        self._count = 0

    def show(self, images: Iterable[Mapping[str, Any]]) -> None:
        """Show how far these images are, in the place of what was shown before."""
        if not self._is_shown:
            return
        self.clear()
        columns = shutil.get_terminal_size().columns
        lines = [bar(image)[: columns - 1] for image in images]
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._count = len(lines)

    def clear(self) -> None:
        """Take the bars away."""
        if self._count:
            self._stream.write(f"\x1b[{self._count}A\r{_CLEAR_BELOW}")
            self._stream.flush()
            self._count = 0


def bar(image: Mapping[str, Any]) -> str:
    """Return how far an image is: nobody knows before its manifests are here."""
    done, total = image["bytes"], image["total_bytes"]
    share = min(1.0, done / total) if total else 0.0
    cells = "#" * int(share * _CELLS)
    sizes = f"{sized(done)} of {sized(total)}" if total else "asking"
    return f"[{cells:<{_CELLS}}] {harmless(str(image['image']))}  {sizes}"
