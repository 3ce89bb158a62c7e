from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirror.errors import NotCached
from mirror.proxy.belief import Belief
from mirror.proxy.freshness import IMMUTABLE, FreshnessPolicy, TagRecord
from mirror.proxy.operations.inspection import Inspection, Reason, Rules
from mirror.proxy.rate_limit import STRETCH, Spending
from mirror.proxy.routing import Route
from mirror.proxy.tag_rules import TagGlob, TagRule
from tests.unit.proxy.doubles import SettableClock, SettableGovernor
from tests.unit.proxy.memory_catalogue import ALPINE, SIZE, MemoryCatalogue, digest_of, named

TTL, STALE = 300.0, 3600.0
POLICY = FreshnessPolicy(timedelta(seconds=TTL), timedelta(seconds=STALE))


def inspection(
    cache: MemoryCatalogue, now: float, belief: Belief = Belief.OPEN, policy: FreshnessPolicy = POLICY, **rules: object
) -> Inspection:
    async def believed(_: Route) -> Belief:
        return belief

    upstreams = frozenset({str(rules.get("upstream", "docker.io"))})
    unused = None if rules.get("kept") else timedelta(seconds=1000)
    governor = SettableGovernor(Spending(str(rules.get("spending", "free"))))
    return Inspection(cache, Rules(policy, upstreams, believed, unused, governor), SettableClock(now))


def tagged() -> MemoryCatalogue:
    cache = MemoryCatalogue()
    cache.manifest("image", "layer")
    cache.tag("alpine:1", "image")
    return cache


@pytest.mark.parametrize(
    ("now", "belief", "reason", "state"),
    [
        (TTL - 1, Belief.OPEN, Reason.FRESH, "hit"),
        (TTL, Belief.OPEN, Reason.STALE, "stale"),
        (-1, Belief.OPEN, Reason.STALE, "stale"),
        (TTL + STALE, Belief.OPEN, Reason.EXPIRED, "miss"),
        (0, Belief.DOUBTED, Reason.DOUBTED, "stale"),
        (TTL, Belief.DOUBTED, Reason.STALE, "stale"),
        (TTL + STALE, Belief.DOUBTED, Reason.EXPIRED, "miss"),
        (0, Belief.UNKNOWN, Reason.UNSEEN, "miss"),
        (TTL + STALE, Belief.UNKNOWN, Reason.UNSEEN, "miss"),
        (0, Belief.PRIVATE, Reason.PRIVATE, "denied"),
        (TTL + STALE, Belief.PRIVATE, Reason.PRIVATE, "denied"),
    ],
)
async def test_who_may_see_comes_before_how_fresh_it_is(now: float, belief: Belief, reason: Reason, state: str) -> None:
    look = inspection(tagged(), now, belief)
    shown = (await look.show(named("alpine:1"))).image
    assert (shown.reason, shown.state) == (reason, state)
    assert await look.images() == [shown]


@pytest.mark.parametrize(
    ("now", "policy", "reason", "state"),
    [
        (TTL + 99, replace(POLICY, keep_deleted=timedelta(seconds=100)), Reason.KEPT, "kept"),
        (-TTL, replace(POLICY, keep_deleted=timedelta(seconds=100)), Reason.KEPT, "kept"),
        (TTL + 100, replace(POLICY, keep_deleted=timedelta(seconds=100)), Reason.EXPIRED, "miss"),
        (TTL + 99, POLICY, Reason.EXPIRED, "miss"),
    ],
)
async def test_what_upstream_has_deleted_is_told_so(
    now: float, policy: FreshnessPolicy, reason: Reason, state: str
) -> None:
    cache = tagged()
    cache.tags[named("alpine:1")] = TagRecord(digest_of("image"), 0.0, TTL)
    shown = (await inspection(cache, now, policy=policy).show(named("alpine:1"))).image
    assert (shown.reason, shown.state) == (reason, state)
    assert shown.lifetime is not None
    assert shown.lifetime.deleted_until == TTL + policy.keep_deleted.total_seconds()


LONG = TagRule(TagGlob("1*"), timedelta(seconds=2 * TTL))


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (TTL - 1, Reason.FRESH),
        (TTL, Reason.SAVING),
        (STRETCH * TTL - 1, Reason.SAVING),
        (STRETCH * TTL, Reason.STALE),
    ],
)
async def test_while_pulls_are_saved_a_tag_is_believed_for_longer(now: float, reason: Reason) -> None:
    shown = (await inspection(tagged(), now, spending="saving").show(named("alpine:1"))).image
    assert (shown.reason, shown.lifetime.fresh_until if shown.lifetime else None) == (reason, STRETCH * TTL)


FOR_EVER = TagRule(TagGlob("?"), IMMUTABLE)


@pytest.mark.parametrize(
    ("now", "rules", "reason", "state", "rule"),
    [
        (2 * TTL - 1, (LONG, FOR_EVER), Reason.FRESH, "hit", "1*"),
        (2 * TTL, (LONG, FOR_EVER), Reason.GRACE, "stale", "1*"),
        (2 * TTL + 60, (LONG, FOR_EVER), Reason.STALE, "stale", "1*"),
        (TTL, (), Reason.GRACE, "stale", None),
        (1e9, (FOR_EVER,), Reason.IMMUTABLE, "hit", "?"),
        (-1e9, (FOR_EVER,), Reason.IMMUTABLE, "hit", "?"),
    ],
)
async def test_the_rule_that_holds_for_a_tag_is_told(
    now: float, rules: tuple[TagRule, ...], reason: Reason, state: str, rule: str | None
) -> None:
    policy = replace(POLICY, stale_while_revalidate=timedelta(seconds=60), rules=rules)
    look = inspection(tagged(), now, policy=policy)
    shown = (await look.show(named("alpine:1"))).image
    assert (shown.reason, shown.state, shown.rule) == (reason, state, rule)
    digest = await look.show(named(f"alpine@{digest_of('image')}"))
    assert (digest.image.reason, digest.image.rule) == (Reason.GRANTED, None)


@pytest.mark.parametrize(
    ("belief", "reason"),
    [(Belief.OPEN, Reason.GRANTED), (Belief.DOUBTED, Reason.DOUBTED), (Belief.PRIVATE, Reason.PRIVATE)],
)
async def test_a_digest_is_fresh_if_anybody_may_see_it(belief: Belief, reason: Reason) -> None:
    shown = await inspection(tagged(), 10**9, belief).show(named(f"alpine@{digest_of('image')}"))
    assert shown.image.reason is reason


async def test_a_digest_of_another_repository_is_asked_for() -> None:
    shown = await inspection(tagged(), 0).show(named(f"debian@{digest_of('image')}"))
    assert (shown.image.reason, shown.image.state) == (Reason.UNCONFIRMED, "stale")


async def test_what_is_of_no_upstream_any_more_is_told_so() -> None:
    (image,) = await inspection(tagged(), 0, upstream="ghcr.io").images()
    assert (image.reason, image.state) == (Reason.UNREACHABLE, "denied")


async def test_what_a_tag_is_to_other_clients_belongs_to_it() -> None:
    cache = tagged()
    cache.manifest("variant", "another layer")
    cache.tag("alpine:1", "variant", variant=True)
    look = inspection(cache, 0)
    (image,) = await look.images()
    assert (image.digest, image.size, image.unshared) == (digest_of("image"), 4 * SIZE, 4 * SIZE)
    shown = await look.show(named("alpine:1"))
    (variant,) = shown.variants
    assert (variant.child.digest, [part.child.digest for part in variant.parts]) == (
        digest_of("variant"),
        [digest_of("another layer")],
    )
    assert [part.child.digest for part in shown.parts] == [digest_of("layer")]


async def test_a_tag_that_only_other_clients_asked_for_is_an_image_and_ages_by_the_last_word() -> None:
    cache = MemoryCatalogue()
    for name, at in (("older", 0.0), ("newer", 200.0)):
        cache.manifest(name)
        cache.tag("alpine:1", name, at, variant=True)
    shown = (await inspection(cache, TTL + 100).show(named("alpine:1"))).image
    assert shown.reason is Reason.FRESH
    assert shown.lifetime is not None
    assert shown.lifetime.fresh_until == 200 + TTL


async def test_two_tags_of_one_manifest_go_together_and_one_that_holds_more_does_not() -> None:
    cache = tagged()
    cache.tag("alpine:2", "image")
    sizes = [image.unshared for image in await inspection(cache, 0).images()]
    assert sizes == [2 * SIZE, 2 * SIZE]
    cache.manifest("variant")
    cache.tag("alpine:2", "variant", variant=True)
    sizes = [image.unshared for image in await inspection(cache, 0).images()]
    assert sizes == [0, SIZE]


async def test_what_does_not_go_by_age_has_no_end() -> None:
    cache = tagged()
    cache.store("image", used_at=50)
    assert (await inspection(cache, 0).show(named("alpine:1"))).image.kept_until == 1050
    assert (await inspection(cache, 0, kept=True).show(named("alpine:1"))).image.kept_until is None
    cache.pins[named("alpine:1")] = None
    shown = await inspection(cache, 0).show(named("alpine:1"))
    assert (shown.image.kept_until, shown.pins) == (None, (named("alpine:1"),))


async def test_what_is_missing_names_a_few_others() -> None:
    cache = MemoryCatalogue()
    cache.manifest("image")
    for number in range(8):
        cache.tag(f"alpine:{number}", "image", variant=number == 0)
    with pytest.raises(NotCached, match="alpine:9 is not cached; of this repository there is 0, 1, 2, 3, 4 and more"):
        await inspection(cache, 0).show(named("alpine:9"))


async def test_a_manifest_that_holds_itself_is_shown_to_a_depth() -> None:
    cache = MemoryCatalogue()
    cache.manifest("loop", manifests=["loop"])
    cache.grant(ALPINE, "loop")
    shown = await inspection(cache, 0).show(named(f"alpine@{digest_of('loop')}"))
    assert shown.parts[0].parts[0].parts[0].parts == ()
