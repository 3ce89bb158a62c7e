"""The power goes at any moment, on a disk that loses all it may: where there are no loop devices, and beyond them."""

from __future__ import annotations

import pickle
import random
import shutil
from pathlib import Path

import pytest

from tests.crash import checking
from tests.crash.loop import Zygotes
from tests.crash.recording import Entry
from tests.crash.simulated import Disk

CUTS = 150


@pytest.fixture
def log(zygotes: Zygotes, prepared: Path, place: Path) -> list[Entry]:
    """What a life did to the disk."""
    folder = place / "recorded"
    shutil.copytree(prepared, folder)
    with zygotes.one() as zygote:
        zygote.run("record", folder=str(folder), log=str(place / "log"))
    found: list[Entry] = pickle.loads((place / "log").read_bytes())
    return found


def test_the_log_says_what_was_done(log: list[Entry], place: Path) -> None:
    disk = Disk()
    for entry in log:
        disk.do(entry)
    disk.do(("sync folder", "partial"))
    disk.do(("sync folder", "run"))
    disk.do(("sync folder", "blobs/sha256"))
    disk.write_out(place / "replayed")
    assert checking.stored(place / "replayed") == checking.stored(place / "recorded")
    assert checking.wrong(place / "replayed") == set()
    assert checking.litter(place / "replayed") == []


def test_whatever_a_power_cut_takes_the_next_mirror_goes_on(
    zygotes: Zygotes, log: list[Entry], prepared: Path, place: Path
) -> None:
    begun = next(at for at, entry in enumerate(log) if entry[0] != "had")

    def cut(seed: int) -> int:
        chance = random.Random(seed)
        at = chance.randint(begun, len(log))
        disk = Disk()
        for entry in log[:at]:
            disk.do(entry)
        disk.cut(chance)
        folder = place / f"cut {seed}"
        disk.write_out(folder)
        for table in ("index", "records"):
            if source := chance.choice((None, prepared, place / "recorded")):
                shutil.copytree(source / table, folder / table)
        try:
            checking.check_cut(folder, disk.committed)
            with zygotes.one() as zygote:
                zygote.run("follow_up", folder=str(folder))
        except AssertionError as error:
            error.add_note(f"The seed was {seed}, the cut after {at} of {len(log)} entries.")
            raise
        shutil.rmtree(folder)
        return at

    moments = set(zygotes.each(cut, range(CUTS)))
    print(f"\n{CUTS} power cuts at {len(moments)} of {len(log) - begun} moments")
