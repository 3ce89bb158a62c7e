"""The power goes while a mirror writes: its disk is copied as it is at that moment, without what is still in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import checking
from tests.crash.loop import Zygotes
from tests.crash.loop_device import can_mount, copy_disk, format_disk, mounted

STEPS = range(8, 120, 6)


@pytest.fixture
def disk(zygotes: Zygotes, place: Path) -> Path:
    """The image of a disk with a prepared cache folder."""
    if not can_mount(place):
        pytest.skip("there are no loop devices here that we may use; see the simulated disk")
    image = place / "disk"
    format_disk(image)
    with mounted(image) as folder, zygotes.one() as zygote:
        zygote.run("prepare", folder=str(folder / "cache"))
    return image


def test_whenever_the_power_goes_the_next_mirror_goes_on(zygotes: Zygotes, disk: Path, place: Path) -> None:
    def cut(at: int) -> int:
        image, journal = place / f"disk {at}", place / f"journal {at}"
        after = place / f"disk {at} after"
        journal.touch()
        copy_disk(disk, image)
        with mounted(image) as folder:
            with zygotes.one() as zygote:
                zygote.run("live", folder=str(folder / "cache"), fault="kill", at=at, journal=str(journal))
            copy_disk(image, after)
        image.unlink()
        committed = set(journal.read_text().split())
        with mounted(after) as folder:
            checking.check_cut(folder / "cache", committed)
            with zygotes.one() as zygote:
                zygote.run("follow_up", folder=str(folder / "cache"))
        after.unlink()
        return len(committed)

    committed = zygotes.each(cut, STEPS)
    print(f"\n{len(committed)} power cuts; {sum(committed)} blobs were committed before and still there")
    assert max(committed) == 3
