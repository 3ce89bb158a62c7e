from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.proxy.freshness import Freshness, FreshnessPolicy, TagRecord, judge

DIGEST = Digest.of(b"manifest")
NOW = 1_700_000_000.0
POLICY = FreshnessPolicy(timedelta(seconds=300), timedelta(days=7))

times = st.floats(min_value=0, max_value=4e9)
durations = st.timedeltas(timedelta(0), timedelta(days=400))
policies = st.builds(FreshnessPolicy, durations, durations)
WORSE = {Freshness.FRESH: 0, Freshness.STALE: 1, Freshness.EXPIRED: 2}


def of_age(seconds: float, policy: FreshnessPolicy = POLICY) -> Freshness:
    """What a record that was validated so long ago is good for."""
    return judge(TagRecord(DIGEST, NOW - seconds), policy, NOW)


@pytest.mark.parametrize(
    ("age", "freshness"),
    [
        (0, Freshness.FRESH),
        (299.5, Freshness.FRESH),
        (300, Freshness.STALE),
        (301, Freshness.STALE),
        (300 + 7 * 86400 - 1, Freshness.STALE),
        (300 + 7 * 86400, Freshness.EXPIRED),
        (1e9, Freshness.EXPIRED),
        (-0.5, Freshness.STALE),
        (-86400, Freshness.STALE),
        (-1e9, Freshness.STALE),
    ],
)
def test_the_boundaries(age: float, freshness: Freshness) -> None:
    assert of_age(age) is freshness


def test_no_record_is_good_for_nothing() -> None:
    assert judge(None, POLICY, NOW) is Freshness.EXPIRED


@given(policies)
def test_with_no_ttl_nothing_is_fresh(policy: FreshnessPolicy) -> None:
    asking_always = FreshnessPolicy(timedelta(0), policy.stale_if_error)
    assert of_age(0, asking_always) is not Freshness.FRESH


def test_with_no_stale_window_a_record_expires_at_once() -> None:
    policy = FreshnessPolicy(timedelta(seconds=10), timedelta(0))
    assert of_age(9, policy) is Freshness.FRESH
    assert of_age(10, policy) is Freshness.EXPIRED


@given(times, times, policies)
def test_a_record_from_the_future_is_stale(now: float, ahead: float, policy: FreshnessPolicy) -> None:
    record = TagRecord(DIGEST, now + 1 + ahead)
    assert judge(record, policy, now) is Freshness.STALE
    assert record.age(now) == 0


@given(times, times, policies)
def test_it_only_gets_worse_with_age(one: float, other: float, policy: FreshnessPolicy) -> None:
    younger, older = sorted((one, other))
    assert WORSE[of_age(younger, policy)] <= WORSE[of_age(older, policy)]


@given(times, policies, durations)
def test_a_more_generous_policy_judges_no_worse(age: float, policy: FreshnessPolicy, more: timedelta) -> None:
    generous = FreshnessPolicy(policy.tag_ttl + more, policy.stale_if_error + more)
    assert WORSE[of_age(age, generous)] <= WORSE[of_age(age, policy)]


@given(times, times)
def test_the_age_is_a_whole_number_of_seconds(validated_at: float, now: float) -> None:
    age = TagRecord(DIGEST, validated_at).age(now)
    assert age >= 0
    assert age <= max(0.0, now - validated_at) < age + 1


def test_the_largest_durations_that_can_be_configured() -> None:
    policy = FreshnessPolicy(timedelta.max, timedelta.max)
    assert of_age(1e9, policy) is Freshness.FRESH
