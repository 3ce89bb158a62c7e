from __future__ import annotations

import pytest

from mirror.supervisor.cores import cores, worker_count


@pytest.mark.parametrize(
    ("allowed", "quota", "count"),
    [
        (8, "", 8),
        (8, "max 100000", 8),
        (8, "200000 100000", 2),
        (8, "150000 100000", 2),
        (8, "50000 100000", 1),
        (2, "400000 100000", 2),
        (0, "", 1),
        (4, "no numbers", 4),
        (4, "100000 0", 4),
        (4, "100000", 4),
    ],
)
def test_auto_is_a_worker_for_each_core_that_may_be_busy(allowed: int, quota: str, count: int) -> None:
    assert cores(allowed, quota) == count


def test_a_number_is_that_number() -> None:
    assert worker_count(3) == 3
    assert worker_count("auto") >= 1
