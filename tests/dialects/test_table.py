"""The table of dialects, with what the tests of this folder have found: `pytest tests/dialects -rP` shows it."""

from __future__ import annotations

from mirror.config.upstreams import BUILT_IN
from tests.dialects.dialect import Dialect
from tests.dialects.distribution import Registry2
from tests.dialects.examples import blocks
from tests.dialects.table import DIALECTS, table

ROWS: list[type[Dialect | Registry2]] = [*DIALECTS, Registry2]


def test_the_table_has_every_registry_that_is_shipped_or_an_example() -> None:
    print("\n".join(table(ROWS)))
    assert len({row.title for row in ROWS}) == len(ROWS)
    assert {row.upstream for row in ROWS} == {*BUILT_IN, *blocks()}
