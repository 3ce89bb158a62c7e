"""The name of a cache folder among mirrors, in `run/`: all processes that share the folder have the same one.

They wait for each other, so what one of them asks for must not come back to another. Each that finds no name adds one,
in one piece, and the first of all is the one that counts.
"""

from __future__ import annotations

import re
import secrets

from mirror.store.folders import Folders

NAME = "identity"
_LINE = re.compile(rb"(mirror-[0-9a-f]{16})\n")


def new_identity() -> str:
    """Return a name that nobody has."""
    return f"mirror-{secrets.token_hex(8)}"


def shared_identity(folders: Folders) -> str:
    """Return the name of this folder, given now if it has none; blocks, raises OSError."""
    own = new_identity()
    if _LINE.search(folders.run.read(NAME) or b"") is None:
        folders.run.append(NAME, f"{own}\n".encode())
    found = _LINE.search(folders.run.read(NAME) or b"")
    return own if found is None else found[1].decode()
