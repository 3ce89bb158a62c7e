"""The cache folder from outside: what chaos does to its files, and what is left of them in the end."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.soak.history import Remains

DATABASES = ("index", "records")


def committed(cache: Path) -> list[Path]:
    """Return every committed file, in a fixed order."""
    return sorted(cache.glob("blobs/sha256/*"))


def digest_of(file: Path) -> str:
    return f"sha256:{file.name}"


def flip(file: Path, bit: int) -> bool:
    """Turn one bit of a read-only file over, as a bad disk would; False if it is gone."""
    with suppress(FileNotFoundError):
        file.chmod(0o644)
        with file.open("r+b") as opened:
            opened.seek(bit // 8)
            (byte,) = opened.read(1)
            opened.seek(bit // 8)
            opened.write(bytes([byte ^ 1 << bit % 8]))
        file.chmod(0o444)
        return True
    return False


def garble(cache: Path, chance: random.Random) -> str:
    """Damage or remove a database that nobody has open; return what was done."""
    folder = cache / chance.choice(DATABASES)
    files = sorted(file for file in folder.glob("*") if file.is_file())
    ways = ["remove the folder"] + (["remove a file", "scribble", "shorten"] if files else [])
    way = chance.choice(ways)
    if way == "remove the folder":
        shutil.rmtree(folder, ignore_errors=True)
        return f"{way} {folder.name}"
    file = chance.choice(files)
    size = file.stat().st_size
    if way == "remove a file":
        file.unlink()
    elif way == "shorten":
        with file.open("r+b") as opened:
            opened.truncate(size // 2)
    else:
        with file.open("r+b") as opened:
            opened.seek(chance.randrange(size + 1))
            opened.write(chance.randbytes(512))
    return f"{way} {folder.name}/{file.name}"


def remains(cache: Path, *, scrubbed: bool) -> Iterator[Remains]:
    """Yield every file of the cache but those of the databases, broken ones included, with its hash."""
    for file in sorted(cache.rglob("*")):
        path = file.relative_to(cache)
        if file.is_file() and path.parts[0].partition(".broken-")[0] not in DATABASES:
            data = file.read_bytes()
            yield Remains(str(path), len(data), hashlib.sha256(data).hexdigest(), scrubbed)
