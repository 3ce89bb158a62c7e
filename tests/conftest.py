"""What all tests share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest
import uvloop

pytest_plugins = ["tests.fakes.fixtures"]

MUST_RUN = "MIRROR_TESTS_MUST_RUN"
"""Set where nothing may be missing: a skipped test then fails the run."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loop that tests run on: the one that the mirror runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped tests, where it must not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get(MUST_RUN):
        return
    if skipped := len(reporter.stats.get("skipped", [])):
        reporter.write_line(f"\n{skipped} tests were skipped, and {MUST_RUN} is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
