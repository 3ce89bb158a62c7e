"""A mirror dies, or its disk fails it, at every single step that it takes on the disk: fill, eviction, scrub, and all.

After each the next mirror is started on what is left. It has to start, to hold no wrong byte, to fetch nothing again
that was there, and to leave nothing behind when it stops (see tasks.follow_up).
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.crash.counted_os import Fault
from tests.crash.loop import Lives

LEAST = {Fault.KILL: 80, Fault.TEAR: 30, Fault.FULL: 50, Fault.BROKEN: 80, Fault.UNREADABLE: 50}
"""Steps there are at least; with fewer, they are not counted right."""


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.TEAR])
def test_whenever_a_mirror_is_killed_the_next_one_goes_on(lives: Lives, fault: Fault) -> None:
    outcomes = lives.all(fault)
    print(f"\n{fault}: {len(outcomes)} steps")
    assert len(outcomes) >= LEAST[fault]
    assert all(outcome.was_killed for outcome in outcomes)


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.BROKEN])
def test_whenever_the_disk_takes_no_more_clients_get_their_bytes_all_the_same(lives: Lives, fault: Fault) -> None:
    results = [outcome.result for outcome in lives.all(fault)]
    print(f"\n{fault}: {len(results)} steps")
    assert len(results) >= LEAST[fault]
    assert Counter(str(result["crashed"]) for result in results).keys() == {"[]"}
    started = [result for result in results if result["started"]]
    assert len(started) > len(results) // 2
    assert {end for result in started for end in (*result["clients"], result["manifest"])} == {"whole"}


def test_whenever_the_disk_cannot_be_read_clients_get_their_bytes_or_a_clean_cut(lives: Lives) -> None:
    fault = Fault.UNREADABLE
    results = [outcome.result for outcome in lives.all(fault)]
    print(f"\n{fault}: {len(results)} steps")
    assert len(results) >= LEAST[fault]
    assert Counter(str(result["crashed"]) for result in results).keys() == {"[]"}
    ends = Counter(end for result in results if result["started"] for end in (*result["clients"], result["manifest"]))
    assert ends["wrong"] == 0
    assert ends["whole"] > len(results)
