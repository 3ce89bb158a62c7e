from __future__ import annotations

from mirror.supervisor.health import liveness, readiness

READY = {"status": "ready", "degraded": []}


def test_all_live_unless_one_does_not_answer() -> None:
    assert liveness({}) == (True, {"status": "ok"})
    assert liveness({1: {"status": "ok"}, 2: {"status": "ok"}}) == (True, {"status": "ok"})
    assert liveness({1: {"status": "ok"}, 2: None}) == (
        False,
        {"status": "not ok", "degraded": ["worker 2 does not answer"]},
    )


def test_one_that_is_replaced_soon_is_no_reason_to_start_all_anew() -> None:
    assert liveness({1: {"status": "ok"}, 2: None}, [1, 2]) == (
        True,
        {"status": "ok", "degraded": ["worker 2 does not answer"]},
    )
    assert liveness({1: {"status": "ok"}, 2: None, 3: None}, [1, 2])[0] is False
    assert liveness({1: None, 2: None}, [1, 2])[0] is False


def test_all_are_ready_if_each_is() -> None:
    assert readiness({1: READY, 2: READY}, []) == (True, {"status": "ready", "degraded": []})
    assert readiness({1: READY}, [2]) == (
        True,
        {"status": "ready", "degraded": ["worker 2: it is being started"]},
    )
    is_ready, document = readiness({}, [1, 2])
    assert (is_ready, document["status"]) == (False, "not ready")


def test_the_worst_decides_and_is_named_unless_all_say_the_same() -> None:
    bad = {"status": "not ready", "degraded": ["the cache cannot be read"]}
    short = {"status": "ready", "degraded": ["the disk takes no new files"]}
    assert readiness({1: READY, 2: bad}, [])[1]["degraded"] == ["worker 2: the cache cannot be read"]
    assert readiness({1: READY, 2: bad}, [])[0] is False
    assert readiness({1: short, 2: short}, []) == (True, {"status": "ready", "degraded": short["degraded"]})
    assert readiness({1: READY, 2: None}, []) == (
        False,
        {"status": "not ready", "degraded": ["worker 2: it does not answer"]},
    )
