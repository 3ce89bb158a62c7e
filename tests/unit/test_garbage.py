from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from mirror.composition.garbage import NEW_OBJECTS, search_seldom


class Ring:
    """An object that holds on to itself."""

    def __init__(self) -> None:
        self.ring = self


@pytest.fixture
def usual() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("usual")
def test_what_is_there_is_not_searched_and_garbage_is_found_all_the_same() -> None:
    search_seldom()
    assert gc.get_freeze_count() > NEW_OBJECTS
    lost = ref(Ring())
    kept = [[] for _ in range(2 * NEW_OBJECTS)]  # type: list[list[object]]
    assert lost() is None
    assert len(kept) == 2 * NEW_OBJECTS
