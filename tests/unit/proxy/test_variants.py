"""Tags for clients that do not take what they point to: asked for again, kept apart, aged like tags."""

from __future__ import annotations

import asyncio

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX
from mirror.oci.reference import Variant
from mirror.proxy.cache_status import Outcome
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.freshness import TagRecord
from mirror.proxy.pulled_manifest import PulledManifest
from tests.unit.proxy.doubles import HUB, Held, Never
from tests.unit.proxy.test_pull_manifest import FRESH, LATEST, OLD, REFUSED, STALE, UNAVAILABLE, Mirror
from tests.unit.virtual_time import in_virtual_time, settle

# The tag of these mirrors points to OLD, which is an OCI manifest.
TAKEN = (DOCKER_LIST, DOCKER_MANIFEST)
VARIANT = Variant(LATEST, TAKEN)
CHILD = Manifest(Digest.of(b"child"), DOCKER_MANIFEST, b"child")


def mirror_that_has_both(age: float, variant_age: float) -> Mirror:
    """A mirror that has heard of the tag, and of the variant, so many seconds ago."""
    mirror = Mirror(age)
    mirror.manifests.kept[CHILD.digest] = CHILD
    mirror.records.tags[HUB, VARIANT] = TagRecord(CHILD.digest, mirror.clock.now - variant_age)
    mirror.records.grants.add((HUB, CHILD.digest))
    return mirror


async def pull(mirror: Mirror, accepted: tuple[str, ...] = TAKEN) -> PulledManifest:
    return await mirror.puller.pull(HUB, LATEST, accepted)


@pytest.mark.parametrize("accepted", [MANIFEST_TYPES, (OLD.media_type,), (DOCKER_LIST, OLD.media_type)])
@in_virtual_time
async def test_what_the_client_takes_is_served_as_to_all(accepted: tuple[str, ...]) -> None:
    mirror = Mirror(FRESH)
    assert (await pull(mirror, accepted)).manifest == OLD
    assert mirror.asked == []


@in_virtual_time
async def test_what_the_client_does_not_take_is_asked_for_again_and_kept_apart() -> None:
    mirror = Mirror(FRESH)
    before = dict(mirror.records.tags)
    mirror.upstream.head_manifests.append(CHILD.descriptor)
    mirror.upstream.manifests.append(CHILD)
    pulled = await pull(mirror)
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (CHILD, Outcome.MISS, 0)
    assert mirror.upstream.asked == [
        f"HEAD library/alpine manifest {VARIANT}",
        f"GET library/alpine manifest {CHILD.digest}",
    ]
    assert mirror.records.tags == before | {(HUB, VARIANT): TagRecord(CHILD.digest, mirror.clock.now)}
    # A second time costs nothing, and for all others nothing has changed.
    assert (await pull(mirror)).status.outcome is Outcome.HIT
    assert (await mirror.pull()).manifest == OLD
    assert len(mirror.upstream.asked) == 2


@in_virtual_time
async def test_another_subset_is_another_question() -> None:
    mirror = mirror_that_has_both(FRESH, FRESH)
    mirror.upstream.head_manifests.append(errors.ManifestUnknown("404"))
    with pytest.raises(errors.ManifestUnknown):
        await pull(mirror, (OCI_INDEX,))
    assert (await pull(mirror)).manifest == CHILD


@in_virtual_time
async def test_an_upstream_that_sends_what_was_not_asked_for_is_believed() -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    pulled = await pull(mirror)
    assert (pulled.manifest, pulled.status.outcome) == (OLD, Outcome.REVALIDATED)
    assert (await pull(mirror)).status.outcome is Outcome.HIT


@in_virtual_time
async def test_an_upstream_that_tells_no_digest_is_asked_for_the_variant_itself() -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(None)
    mirror.upstream.manifests.append(CHILD)
    assert (await pull(mirror)).manifest == CHILD
    assert mirror.upstream.asked[1] == f"GET library/alpine manifest {VARIANT}"


@in_virtual_time
async def test_the_variant_ages_by_itself() -> None:
    mirror = mirror_that_has_both(FRESH, STALE)
    mirror.upstream.head_manifests.append(CHILD.descriptor)
    pulled = await pull(mirror)
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (CHILD, Outcome.REVALIDATED, 0)
    assert mirror.upstream.asked == [f"HEAD library/alpine manifest {VARIANT}"]


@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_in_an_outage_the_variant_is_served_stale_and_says_so(error: MirrorError) -> None:
    mirror = mirror_that_has_both(STALE, STALE + 7)
    mirror.upstream.head_manifests += [error, error]
    pulled = await pull(mirror)
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (CHILD, Outcome.STALE, STALE + 7)
    assert pulled.trouble is error


@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_in_an_outage_a_client_is_not_given_what_it_does_not_take(error: MirrorError) -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(error)
    with pytest.raises(type(error)):
        await pull(mirror)
    assert (await mirror.pull()).manifest == OLD


@pytest.mark.parametrize("error", REFUSED)
@in_virtual_time
async def test_upstreams_no_is_passed_on_remembered_and_costs_the_others_nothing(error: MirrorError) -> None:
    mirror = mirror_that_has_both(FRESH, STALE)
    mirror.upstream.head_manifests.append(error)
    for remembered in (False, True):
        with pytest.raises(type(error)) as raised:
            await pull(mirror)
        assert raised.value.remembered is remembered
    assert (HUB, VARIANT) not in mirror.records.tags
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    assert len(mirror.upstream.asked) == 1


@in_virtual_time
async def test_a_404_says_that_it_is_about_the_type() -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(errors.ManifestUnknown("upstream does not have it"))
    with pytest.raises(errors.ManifestUnknown, match="no type that the client accepts"):
        await pull(mirror)


@in_virtual_time
async def test_a_tag_that_is_gone_takes_its_variants_along() -> None:
    mirror = mirror_that_has_both(STALE, FRESH)
    mirror.upstream.head_manifests.append(errors.ManifestUnknown("upstream does not have it"))
    with pytest.raises(errors.ManifestUnknown, match="does not have it"):
        await pull(mirror)
    assert len(mirror.upstream.asked) == 1


@in_virtual_time
async def test_a_digest_is_what_it_is() -> None:
    mirror = Mirror(FRESH)
    assert (await mirror.puller.pull(HUB, OLD.digest, TAKEN)).manifest == OLD
    assert mirror.asked == []


@in_virtual_time
async def test_both_questions_together_have_the_time_of_one() -> None:
    mirror = Mirror()
    gate = asyncio.Event()
    mirror.upstream.head_manifests += [Held(gate, OLD.descriptor), Never()]
    mirror.upstream.manifests.append(OLD)
    pulling = asyncio.create_task(pull(mirror))
    await asyncio.sleep(ANSWER_WITHIN - 1)
    gate.set()
    with pytest.raises(errors.UpstreamTimeout):
        await pulling
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await mirror.tasks.cancel()


@in_virtual_time
async def test_clients_share_the_second_question_and_one_that_leaves_harms_nobody() -> None:
    mirror = Mirror(FRESH)
    gate = asyncio.Event()
    mirror.upstream.head_manifests.append(Held(gate, CHILD.descriptor))
    mirror.upstream.manifests.append(CHILD)
    pulling = [asyncio.create_task(pull(mirror)) for _ in range(5)]
    await settle()
    pulling.pop(0).cancel()
    gate.set()
    outcomes = [pulled.status.outcome for pulled in await asyncio.gather(*pulling)]
    assert outcomes == [Outcome.COLLAPSED] * 4
    assert len(mirror.upstream.asked) == 2
