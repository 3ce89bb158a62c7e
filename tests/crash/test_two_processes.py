"""One process writes a blob and dies at every single step of it, while another reads along."""

from __future__ import annotations

import shutil
from pathlib import Path

from mirror.oci.digest import Digest
from tests.crash import checking
from tests.crash.content import FIRST
from tests.crash.loop import Zygotes
from tests.crash.zygote import Outcome

STEPS = 30
"""More than the fill has that is read along with."""


def test_whenever_the_writer_dies_its_reader_takes_over(zygotes: Zygotes, prepared: Path, place: Path) -> None:
    ends: list[str] = []

    def die(at: int) -> Outcome:
        folder = place / f"death {at}"
        shutil.copytree(prepared, folder)
        with zygotes.one() as writer, zygotes.one() as reader:
            writer.start("write", folder=str(folder), at=at)
            reader.start("read_along", folder=str(folder))
            outcome, seen = writer.wait(), reader.wait().result
        assert seen["ended"] == "whole" or seen["ended"].startswith("cut:"), (at, seen)
        assert seen["again"] == "whole", (at, seen)
        assert checking.stored(folder)[Digest.of(FIRST).encoded] == FIRST
        assert _litter(folder) == [], at
        ends.append(seen["ended"])
        shutil.rmtree(folder)
        return outcome

    outcomes = [die(at) for at in range(1, STEPS + 1)]
    killed = [outcome for outcome in outcomes if outcome.was_killed]
    assert 15 <= len(killed) < STEPS
    print(f"\nkilled at {len(killed)} steps; {ends.count('whole')} of {len(ends)} readers got the whole body at once")
    assert ends.count("whole") > len(ends) // 2


def _litter(folder: Path) -> list[str]:
    """Return what is left, but for the writer's mark: one that ends after its reader is swept up by the next."""
    return [name for name in checking.litter(folder) if not name.startswith("process-")]
