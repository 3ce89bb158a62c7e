"""Where a partial file is, and where it is going."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirror.store.folder import Folder

OURS = re.compile(r"sha(256|512)-[0-9a-f]+(\.[0-9a-f]+)?")
"""What partial files are called; with a second part, they are private to their writer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Its name in `partial`, the same as its page's in `run`, and the folder that it is committed to."""

    name: str
    partial: Folder
    run: Folder
    target: Folder
