from __future__ import annotations

import pytest

from mirror.errors import (
    Denied,
    ManifestUnknown,
    Refused,
    UpstreamDown,
    UpstreamFailed,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from mirror.upstream.verdict import Answer, most_telling

MISSING, DENIED = ManifestUnknown("404"), Denied("403")
SOON, LATER, UNSAID = UpstreamThrottled("429", 5), UpstreamThrottled("429", 60), UpstreamThrottled("429")
DOWN, DOWN_FOR_LONG = UpstreamDown("down", 2), UpstreamDown("down", 30)
CUT, SILENT, BROKEN = UpstreamUnreachable("reset"), UpstreamTimeout("silent"), UpstreamFailed("503")
Error = Refused | UpstreamUnavailable

CASES: dict[str, tuple[list[Error], Error]] = {
    "the registry's no": ([MISSING], MISSING),
    "the registry's no after trouble elsewhere": ([SILENT, DOWN, SOON, MISSING], MISSING),
    "the registry's no, not the accelerator's": ([DENIED, MISSING], MISSING),
    "an accelerator's no does not speak for a registry in trouble": ([MISSING, SILENT], SILENT),
    "nor for one that is down": ([MISSING, DOWN], DOWN),
    "nor for one that is throttled": ([MISSING, LATER], LATER),
    "what went wrong last": ([CUT, BROKEN, SILENT], SILENT),
    "what went wrong with who was asked": ([BROKEN, DOWN], BROKEN),
    "all throttled, the soonest": ([LATER, SOON], SOON),
    "all throttled, one of which says for how long": ([UNSAID, LATER, UNSAID], LATER),
    "all throttled, nobody says": ([UNSAID, UNSAID], UNSAID),
    "throttled or down": ([DOWN, LATER], LATER),
    "not all throttled": ([SOON, CUT], CUT),
    "all down, the soonest": ([DOWN_FOR_LONG, DOWN], DOWN),
}


@pytest.mark.parametrize(("errors", "expected"), CASES.values(), ids=CASES)
def test_one_error_stands_for_all(errors: list[Error], expected: Error) -> None:
    answers = [Answer(error, is_registry=place == len(errors)) for place, error in enumerate(errors, start=1)]
    assert most_telling(answers) is expected


def test_the_registrys_no_counts_wherever_the_walk_began() -> None:
    assert most_telling([Answer(MISSING, is_registry=True), Answer(SILENT, is_registry=False)]) is MISSING
