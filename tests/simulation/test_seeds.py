"""Seeds of the simulation: `SEED=7 pytest tests/simulation -k seed` runs one, `SEEDS=100000` so many that are new."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from tests.simulation.chance import Chance
from tests.simulation.scale import scaled_down
from tests.simulation.storm import Storm
from tests.unit.virtual_time import Stuck, run

COUNT = 500
"""Seeds that every run tries, always the same."""

MOST_SECONDS = 2 * 3600
"""Virtual time a seed may take; upstream is silent for an hour at most."""


def seeds() -> range:
    """Return the seeds to try."""
    if "SEED" in os.environ:
        return range(int(os.environ["SEED"]), int(os.environ["SEED"]) + 1)
    if "SEEDS" in os.environ:
        start = random.randrange(10**9)
        return range(start, start + int(os.environ["SEEDS"]))
    return range(COUNT)


def violations(seed: int) -> list[str]:
    """Return the promises that are broken under this seed."""
    storm = Storm(Chance(seed))
    try:
        run(_bounded(storm), shuffled=random.Random(seed))
    except Stuck as stuck:
        return [*storm.world.violations, str(stuck)]
    except TimeoutError:
        return [*storm.world.violations, f"it does not come to an end within {MOST_SECONDS} s"]
    return storm.world.violations


async def _bounded(storm: Storm) -> None:
    async with asyncio.timeout(MOST_SECONDS):
        await storm.run()


@pytest.mark.timeout(0)
def test_no_seed_breaks_a_promise() -> None:
    with scaled_down():
        for seed in seeds():
            if found := violations(seed):
                pytest.fail(f"{found[0]}\nSEED={seed} .venv/bin/pytest tests/simulation -k seed", pytrace=False)
