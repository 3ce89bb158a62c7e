"""What the tests of the store share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.store.cabinet import Cabinet


@pytest.fixture
async def cabinet(tmp_path: Path) -> AsyncIterator[Cabinet]:
    """An empty store without a limit."""
    async with Cabinet(tmp_path) as opened:
        yield opened
