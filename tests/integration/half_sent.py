"""A large blob of which upstream has sent half, and sends the rest when it is told to."""

from __future__ import annotations

import pytest

from tests.fakes.content import FakeBlob
from tests.fakes.faults import stop_at
from tests.fakes.gate import Gate
from tests.fakes.registry import FakeRegistry
from tests.integration.paths import path_of
from tests.integration.processes import MIB, put

SIZE = 8 * MIB
HALF = SIZE // 2


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    """A large blob that nobody has asked for yet."""
    return put(registry, SIZE)


@pytest.fixture
def gate(registry: FakeRegistry, blob: FakeBlob) -> Gate:
    """Upstream sends half of the blob, and the rest once this is open."""
    gate = Gate()
    registry.fault(path_of(blob), stop_at(HALF, gate))
    return gate
