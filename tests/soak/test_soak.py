"""Two mirrors on one cache folder keep every promise, whatever happens to them: some seconds of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.history import Ending
from tests.soak.plan import Plan
from tests.soak.run import judge, soak
from tests.soak.summary import summary


@pytest.mark.timeout(150)
@pytest.mark.parametrize("seed", [7, random.randrange(10**6)], ids=["the same seed", "another seed"])
async def test_every_promise_is_kept_under_random_traffic_and_trouble(seed: int, tmp_path: Path) -> None:
    plan = Plan(seed, minutes=0.12, images=40, pause=0.8, stall=2.0)
    print(plan.command)
    history, violations = judge(await soak(plan, tmp_path))
    print(summary(history))
    assert not violations, "\n".join([plan.command, *violations[:10]])
    assert sum(one.ending is Ending.COMPLETE for one in history.requests) > 50
    assert history.transfers
    assert history.chaos
