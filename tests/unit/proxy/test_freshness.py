from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.proxy.freshness import IMMUTABLE, Freshness, FreshnessPolicy, TagRecord, judge, lifetime, outlasts
from mirror.proxy.tag_rules import TagGlob, TagRule

DIGEST = Digest.of(b"manifest")
NOW = 1_700_000_000.0
POLICY = FreshnessPolicy(timedelta(seconds=300), timedelta(days=7))
RELAXED = FreshnessPolicy(timedelta(seconds=300), timedelta(days=7), timedelta(seconds=60))

times = st.floats(min_value=0, max_value=4e9)
durations = st.timedeltas(timedelta(0), timedelta(days=400))
policies = st.builds(FreshnessPolicy, durations, durations, durations)
WORSE = {Freshness.FRESH: 0, Freshness.GRACE: 1, Freshness.STALE: 2, Freshness.EXPIRED: 3}


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


@pytest.mark.parametrize(
    ("age", "freshness"),
    [
        (299.5, Freshness.FRESH),
        (300, Freshness.GRACE),
        (359.5, Freshness.GRACE),
        (360, Freshness.STALE),
        (300 + 7 * 86400, Freshness.EXPIRED),
        (-0.5, Freshness.STALE),
        (-300, Freshness.STALE),
    ],
)
def test_the_boundaries_of_the_time_in_which_upstream_is_asked_meanwhile(age: float, freshness: Freshness) -> None:
    assert of_age(age, RELAXED) is freshness


@pytest.mark.parametrize("age", [-1e12, -1, 0, 1, 1e12])
def test_what_is_immutable_is_fresh_whatever_the_clock_says(age: float) -> None:
    assert of_age(age, FreshnessPolicy(IMMUTABLE, timedelta())) is Freshness.FRESH


def test_that_it_may_be_served_meanwhile_says_nothing_about_outages() -> None:
    policy = FreshnessPolicy(timedelta(seconds=10), timedelta(0), timedelta(seconds=60))
    assert [of_age(age, policy) for age in (9, 10, 69, 70)] == [
        Freshness.FRESH,
        Freshness.GRACE,
        Freshness.GRACE,
        Freshness.EXPIRED,
    ]
    assert [outlasts(age, policy) for age in (9, 10)] == [True, False]


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
    generous = FreshnessPolicy(
        policy.tag_ttl + more, policy.stale_if_error + more, policy.stale_while_revalidate + more
    )
    assert WORSE[of_age(age, generous)] <= WORSE[of_age(age, policy)]


@given(times, times)
def test_the_age_is_a_whole_number_of_seconds(validated_at: float, now: float) -> None:
    age = TagRecord(DIGEST, validated_at).age(now)
    assert age >= 0
    assert age <= max(0.0, now - validated_at) < age + 1


def test_the_largest_durations_that_can_be_configured() -> None:
    policy = FreshnessPolicy(timedelta.max, timedelta.max)
    assert of_age(1e9, policy) is Freshness.FRESH


# What a lifetime says, and what is judged. -----------------------------------------------------------------


@given(times, policies)
def test_a_lifetime_says_what_is_judged(age: float, policy: FreshnessPolicy) -> None:
    record = TagRecord(DIGEST, 0.0)
    until, freshness = lifetime(record, policy), judge(record, policy, age)
    assert (freshness is Freshness.FRESH) == (age < until.fresh_until)
    assert (freshness in (Freshness.FRESH, Freshness.GRACE)) == (age < max(until.fresh_until, until.grace_until))
    assert outlasts(age, policy) == (age < until.stale_until)


# Rules. ----------------------------------------------------------------------------------------------------

texts = st.sampled_from(["v*", "v*.*.*", "sha-*", "latest", "*", "[0-9]*"])
rules = st.lists(st.builds(TagRule, texts.map(TagGlob), durations | st.just(IMMUTABLE)), max_size=5).map(tuple)
tags = st.sampled_from(["v1", "v1.2.3", "sha-1f2e", "latest", "Latest", "1.27", "_"])


def rule(text: str, ttl: timedelta) -> TagRule:
    return TagRule(TagGlob(text), ttl)


def test_the_first_rule_that_matches_wins() -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    policy = replace(POLICY, rules=(rule("v*.*.*", day), rule("v*", hour), rule("sha-*", IMMUTABLE)))
    found = {tag: policy.of(tag).tag_ttl for tag in ("v1.2.3", "v1", "sha-1f2e", "latest")}
    assert found == {"v1.2.3": day, "v1": hour, "sha-1f2e": IMMUTABLE, "latest": POLICY.tag_ttl}


@given(policies, rules, tags)
def test_a_rule_changes_the_ttl_of_what_it_matches_and_nothing_else(
    policy: FreshnessPolicy, rules: tuple[TagRule, ...], tag: str
) -> None:
    found, ruled = replace(policy, rules=rules).rule(tag), replace(policy, rules=rules).of(tag)
    before = () if found is None else rules[: rules.index(found)]
    assert not any(one.match.matches(tag) for one in (rules if found is None else before))
    assert found is None or found.match.matches(tag)
    assert ruled.tag_ttl == (policy.tag_ttl if found is None else found.ttl)
    assert replace(ruled, tag_ttl=policy.tag_ttl, rules=()) == policy


@given(st.floats(-1e9, 1e10), st.sampled_from([POLICY, replace(POLICY, stale_while_revalidate=timedelta(days=1))]))
def test_offline_nothing_is_ever_too_old_and_nobody_is_asked_meanwhile(age: float, policy: FreshnessPolicy) -> None:
    offline = policy.offline()
    assert of_age(age, offline) in (Freshness.FRESH, Freshness.STALE)
    assert outlasts(age, offline)
    assert (of_age(age, offline) is Freshness.FRESH) == (of_age(age, policy) is Freshness.FRESH)
