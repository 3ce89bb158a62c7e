"""A disk that loses what was not made durable, as far as the rules let it.

A file's content is durable up to its last fsync, a folder's names up to the folder's; of what came later any beginning
may be there: names in their order, bytes in theirs or as zeros, and each folder and each file for itself. A file that
moves from one folder to another is in one of them, as on every file system with a journal.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.recording import Entry


@dataclass
class _File:
    """What of a file is durable, and what was done to it since."""

    content: bytes = b""
    mode: int = 0o600
    pending: list[Entry] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is durable."""
        for entry in self.pending:
            self._apply(entry)
        self.pending.clear()

    def _apply(self, entry: Entry) -> None:
        if entry[0] == "mode":
            self.mode = entry[2]
        elif entry[0] == "cut":
            self.content = self.content[: entry[2]].ljust(entry[2], b"\0")
        else:
            _, _, offset, data = entry
            before = self.content[:offset].ljust(offset, b"\0")
            self.content = before + data + self.content[offset + len(data) :]

    def lose(self, chance: random.Random) -> None:
        """Lose some of what is not durable; what is left may have its length without its bytes."""
        kept = self.pending[: chance.randint(0, len(self.pending))]
        if kept and kept[-1][0] == "write" and chance.random() < 0.3:
            kept[-1] = (*kept[-1][:3], kept[-1][3][: len(kept[-1][3]) // 2])
        if chance.random() < 0.3:
            kept = [(*entry[:3], bytes(len(entry[3]))) if entry[0] == "write" else entry for entry in kept]
        self.pending = kept
        self.sync()


class Disk:
    """What a log did to it, up to the moment of the cut."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = defaultdict(_File)
        self._names: dict[str, dict[str, int]] = defaultdict(dict)
        self._current: dict[str, dict[str, int]] = defaultdict(dict)
        self._pending: dict[str, list[dict[str, Entry]]] = defaultdict(list)
        self.committed: set[str] = set()
        """The names of the blobs that the mirror had said were committed."""

    def do(self, entry: Entry) -> None:
        """Do what an entry of the log says."""
        getattr(self, f"_{entry[0].replace(' ', '_')}")(entry)

    def _had(self, entry: Entry) -> None:
        _, folder, name, number, content, mode = entry
        self._files[number] = _File(content, mode)
        self._names[folder][name] = self._current[folder][name] = number

    def _create(self, entry: Entry) -> None:
        _, folder, name, number, mode = entry
        self._files[number] = _File(mode=mode)
        self._later({folder: (name, number)})

    def _write(self, entry: Entry) -> None:
        self._files[entry[1]].pending.append(entry)

    _cut = _mode = _write

    def _sync(self, entry: Entry) -> None:
        self._files[entry[1]].sync()

    def _sync_folder(self, entry: Entry) -> None:
        self._settle(entry[1], len(self._pending[entry[1]]))

    def _rename(self, entry: Entry) -> None:
        _, source, name, target, new_name = entry
        number = self._current[source][name]
        if source == target:
            self._later({source: (name, None, new_name, number)})
        else:
            self._later({source: (name, None), target: (new_name, number)})

    def _unlink(self, entry: Entry) -> None:
        self._later({entry[1]: (entry[2], None)})

    def _committed(self, entry: Entry) -> None:
        self.committed.add(entry[1])

    def _later(self, changes: dict[str, Entry]) -> None:
        """Change names in one folder or two, at once."""
        for folder, change in changes.items():
            _change(self._current[folder], change)
            self._pending[folder].append(changes)

    def _settle(self, folder: str, count: int) -> None:
        """The first `count` changes of a folder are durable, and with them all that others made before them."""
        for changes in self._pending[folder][:count]:
            if changes not in self._pending[folder]:
                continue
            for name, change in changes.items():
                self._settle(name, self._pending[name].index(changes))
                self._pending[name].remove(changes)
                _change(self._names[name], change)

    def cut(self, chance: random.Random) -> None:
        """The power goes: lose some of what is not durable."""
        for folder, changes in self._pending.items():
            self._settle(folder, chance.randint(0, len(changes)))
        for file in self._files.values():
            file.lose(chance)

    def write_out(self, path: Path) -> None:
        """Make a folder of what is left."""
        for folder, names in self._names.items():
            (path / folder).mkdir(parents=True, exist_ok=True)
            for name, number in names.items():
                (path / folder / name).write_bytes(self._files[number].content)
                (path / folder / name).chmod(self._files[number].mode)


def _change(names: dict[str, int], change: Entry) -> None:
    """Set pairs of a name and what has it, at once; None takes the name away."""
    for name, number in zip(change[::2], change[1::2], strict=True):
        if number is None:
            names.pop(name, None)
        else:
            names[name] = number
