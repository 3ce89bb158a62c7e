"""What holds for a tag: what tells it time and again tells what is told when it is asked for once."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag
from mirror.proxy.freshness import IMMUTABLE, FreshnessPolicy, TagRecord
from mirror.proxy.rate_limit import Spending
from mirror.proxy.routing import Route
from mirror.proxy.tag_terms import TagTerms

ROUTE, TAG = Route("docker.io", Repository("library/alpine")), Tag("latest")
moments = st.integers(-100, 10_000).map(float)


class Moody:
    """A governor and a clock that say what they are told."""

    def __init__(self) -> None:
        self.mood = Spending.FREE
        self.now = 0.0

    def spending(self, _: str) -> Spending:
        return self.mood

    def clock(self) -> float:
        return self.now


@given(
    ttl=st.sampled_from([timedelta(), timedelta(seconds=60), timedelta(hours=1), IMMUTABLE]),
    gone_since=st.none() | moments,
    first=moments,
    then=st.lists(st.tuples(moments, st.sampled_from(Spending)), max_size=20),
)
def test_a_tag_stays_what_it_was_as_long_as_it_would_be_found_to_be(
    ttl: timedelta, gone_since: float | None, first: float, then: list[tuple[float, Spending]]
) -> None:
    moody = Moody()
    terms = TagTerms(FreshnessPolicy(ttl, timedelta()), moody, moody.clock)
    record = TagRecord(Digest.of(b""), 0.0, gone_since)
    moody.now, moody.mood = first, Spending.SAVING
    status = terms.fresh(ROUTE, TAG, record)
    if status is None:
        return
    stays = terms.stays(ROUTE, TAG, record, status)
    for moody.now, moody.mood in then:
        assert stays() == (terms.fresh(ROUTE, TAG, record) == status)
