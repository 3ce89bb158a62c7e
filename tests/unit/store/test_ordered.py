from __future__ import annotations

import inspect

from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.store.entries import IndexEntry
from mirror.store.ordered import Ordered

FILES = [Digest.of(b"%d" % number) for number in range(12)]
BEGINNING, TO_COME = 100.0, 200.0


@given(
    st.dictionaries(st.sampled_from(FILES), st.floats(0, BEGINNING)),
    st.dictionaries(st.sampled_from(FILES), st.floats(0, TO_COME)),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(FILES))),
)
def test_the_order_is_that_of_use_whatever_is_used_while_it_is_mended(
    before: dict[Digest, float], newer: dict[Digest, float], touches: list[tuple[int, Digest]]
) -> None:
    files = Ordered()
    for digest, used_at in sorted(before.items(), key=lambda item: item[1]):
        files.put(digest, IndexEntry(10, used_at, False))
    for digest, used_at in newer.items():
        files.put(digest, IndexEntry(10, used_at, False))
    used: set[Digest] = set()
    now = BEGINNING
    work = files.mend(min(newer.values(), default=TO_COME), used)
    for pause, digest in touches:
        for _ in range(pause):
            next(work, None)
        if inspect.getgeneratorstate(work) != inspect.GEN_CLOSED:
            now += 1.0
            files.put(digest, IndexEntry(10, now, False))
            used.add(digest)
    for _ in work:
        pass
    times = [entry.used_at for _, entry in files.items()]
    assert times == sorted(times)
    assert set(files.blobs) == before.keys() | newer.keys() | used
    assert files.size == 10 * len(files)


def test_blobs_come_before_manifests_and_are_what_they_were_last_put_as() -> None:
    files = Ordered()
    a, b, c = FILES[:3]
    files.put(a, IndexEntry(1, 1.0, True))
    files.put(b, IndexEntry(2, 2.0, False))
    files.put(c, IndexEntry(3, 3.0, True))
    assert [digest for digest, _ in files.items()] == [b, a, c]
    files.put(a, IndexEntry(4, 4.0, False))
    assert [digest for digest, _ in files.items()] == [b, a, c]
    assert (files.size, files.latest, len(files), a in files) == (9, 4.0, 3, True)
    assert files.drop(a)
    assert not files.drop(a)
    assert (files.size, len(files), a in files) == (5, 2, False)
