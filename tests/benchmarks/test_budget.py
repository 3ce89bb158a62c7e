"""A warm request costs no more instructions than it may: a budget that needs no clock and no quiet machine."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.hot_path import KINDS
from benchmarks.instructions import BUDGET, beyond_budget, instructions


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
@pytest.mark.timeout(300)
def test_a_warm_request_keeps_to_its_budget() -> None:
    counted = instructions()
    assert tuple(counted) == KINDS
    assert beyond_budget(counted) == []
    # Else it is not a request that was counted, or the budget is worth nothing.
    assert all(count > BUDGET[kind] // 2 for kind, count in counted.items()), counted


def test_what_costs_more_is_told_with_what_to_do() -> None:
    [line] = beyond_budget({"tag": BUDGET["tag"], "blob": BUDGET["blob"] + 1})
    assert f"a warm blob costs {BUDGET['blob'] + 1:,} instructions" in line
    assert "hot_spots blob" in line
