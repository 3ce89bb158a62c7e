"""Pins at rest: one row of the `records/` table and the same text in `index.json` (see pins.PinBoard).

The text is `NAME` or `NAME=DIGEST` for each, with spaces between; the digest is what a tag pointed to last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from mirror.errors import RequestError, StoreFailed, TooManyPins
from mirror.oci.digest import Digest
from mirror.proxy.operations.naming import FullName
from mirror.proxy.operations.pins import MOST_PINS
from mirror.store.rows import Rows

ROW = "pins"

Pinned = dict[FullName, Digest | None]


class StoredPins:
    """What is pinned, according to any process; what was known last where the table cannot be read."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._known: Pinned = {}

    def begin_with(self, text: str) -> None:
        """Believe this for as long as the table cannot be read."""
        self._known = parse_pins(text)

    async def read(self) -> Pinned:
        """Return all pins."""
        try:
            text = await self._rows.get(ROW)
        except StoreFailed:
            return self._known
        self._known = parse_pins(text or "")
        return self._known

    async def change(self, change: Callable[[Pinned], None]) -> None:
        """Change the pins as they are at that moment, in one transaction; raises StoreFailed, TooManyPins."""
        refused: list[TooManyPins] = []

        def changed(text: str | None) -> str | None:
            pins = parse_pins(text or "")
            try:
                change(pins)
            except TooManyPins as error:
                refused.append(error)
                return text
            # Not None: where it is the only row, that nothing is pinned any more has to be saved as well.
            return render_pins(pins)

        if not await self._rows.change(ROW, changed):
            raise StoreFailed("the pins could not be written")
        if refused:
            raise refused[0]

    async def note(self, found: Mapping[FullName, Digest]) -> None:
        """Note what pinned tags point to by now."""

        def change(pins: Pinned) -> None:
            pins.update({name: digest for name, digest in found.items() if name in pins})

        await self.change(change)


class StoredPinBoard:
    """Tells pins, pins and unpins, while nobody evicts (`turn`), and has it saved outside the table as well."""

    def __init__(
        self,
        pins: StoredPins,
        turn: Callable[[], AbstractAsyncContextManager[None]],
        save: Callable[[], Awaitable[None]],
    ) -> None:
        self._pins = pins
        self._turn = turn
        self._save = save

    async def pinned(self) -> Pinned:
        """Return all pins."""
        return await self._pins.read()

    async def pin(self, name: FullName, digest: Digest | None) -> bool:
        """Keep a pin; False if it was there. Raises TooManyPins, StoreFailed."""
        was_there: list[bool] = []

        def change(pins: Pinned) -> None:
            was_there.append(name in pins)
            if len(pins) >= MOST_PINS and name not in pins:
                raise TooManyPins(f"there are {MOST_PINS} pins, and there may be no more")
            pins[name] = digest or pins.get(name)

        async with self._turn():
            await self._pins.change(change)
        await self._save()
        return not was_there[-1]

    async def unpin(self, name: FullName) -> bool:
        """Keep it no more; False if there was none. Raises StoreFailed."""
        was_there: list[bool] = []

        def change(pins: Pinned) -> None:
            was_there.append(name in pins)
            pins.pop(name, None)

        await self._pins.change(change)
        await self._save()
        return was_there[-1]


def parse_pins(text: str) -> Pinned:
    """Return the pins that the text spells; what is damaged is left out."""
    pins: Pinned = {}
    for part in text.split():
        name, _, digest = part.partition("=")
        try:
            pins[FullName.parse(name)] = Digest.parse(digest) if digest else None
        except RequestError:
            continue
    return pins


def render_pins(pins: Mapping[FullName, Digest | None]) -> str:
    """Return the text that spells these pins."""
    return " ".join(sorted(str(name) if digest is None else f"{name}={digest}" for name, digest in pins.items()))
