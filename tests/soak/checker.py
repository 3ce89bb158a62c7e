"""The judge: from a history to all that should not have been. Pure: no clock, no file, no process."""

from __future__ import annotations

from tests.soak.history import History
from tests.soak.rules.bodies import wrong_bodies
from tests.soak.rules.deadlines import late_answers
from tests.soak.rules.errors import groundless_errors
from tests.soak.rules.remains import bad_exits, bad_remains, objections, wrong_scrubs
from tests.soak.rules.tags import outdated_tags
from tests.soak.rules.transfers import double_transfers
from tests.soak.rules.truth import Content, Truth


def check(history: History, content: Content) -> list[str]:
    """Return the violations, a line each; none if every promise was kept."""
    truth = Truth(history, content)
    return [
        *wrong_bodies(history, truth),
        *outdated_tags(history),
        *late_answers(history),
        *groundless_errors(history),
        *double_transfers(history),
        *bad_remains(history, truth),
        *wrong_scrubs(history, truth),
        *bad_exits(history),
        *objections(history),
    ]
