"""What the tests of crashes share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.loop import Lives, Zygotes

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def zygotes() -> Iterator[Zygotes]:
    """The processes that children are forked from."""
    opened = Zygotes()
    yield opened
    opened.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: what is not written survives the death of a process anyway."""
    path = Path(tempfile.mkdtemp(prefix="mirror-crash-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def prepared(zygotes: Zygotes, place: Path) -> Path:
    """A cache folder with what is in it before anything happens."""
    path = place / "prepared"
    with zygotes.one() as zygote:
        zygote.run("prepare", folder=str(path))
    return path


@pytest.fixture
def lives(zygotes: Zygotes, prepared: Path, place: Path) -> Lives:
    """Lives of a mirror, each on a copy of the prepared folder."""
    return Lives(zygotes, prepared, place)
