"""A registry that counts pulls as Docker Hub does: what is spent, on whose account, and what happens at the end."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mirror.proxy.limits.budget import LOOK_SECONDS
from mirror.proxy.limits.hold import HOLD_SECONDS, LONGEST_HOLD
from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.pull_limit import ADDRESS, PullLimit
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.unit.proxy.doubles import SettableClock

APP = "library/app"
IMAGES = [content.image(layers=1, seed=f"limited {number}") for number in range(12)]

pytestmark = pytest.mark.usefixtures("forgets_failures")


@pytest.fixture
def forgets_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are remembered by the time of day, of which little passes in a test."""
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 0.0)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def limit(registry: FakeRegistry, clock: SettableClock) -> PullLimit:
    """Ten pulls in six hours, of a registry with a dozen tags."""
    registry.pull_limit = PullLimit(10, clock=clock)
    for number, image in enumerate(IMAGES):
        registry.add_image(APP, str(number), image)
    return registry.pull_limit


@pytest.fixture
async def mirror(start_mirror: StartMirror, clock: SettableClock, limit: PullLimit) -> AsyncIterator[RunningMirror]:
    async with start_mirror(clock=clock) as running:
        yield running


def tag(number: int) -> str:
    return f"/v2/{APP}/manifests/{number}"


def digest(number: int) -> str:
    return f"/v2/{APP}/manifests/{IMAGES[number].digest}"


async def pulled(mirror: RunningMirror, path: str) -> str:
    """Pull a manifest that must be had; return its Cache-Status."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    return response.headers["Cache-Status"]


async def refused(mirror: RunningMirror, path: str) -> tuple[str, int]:
    """Pull a manifest that cannot be had now; return why, and after how many seconds it is worth another try."""
    response, body = await mirror.get(path)
    assert (response.status, error_code(body)) == (503, "UNAVAILABLE")
    return str(json.loads(body)["errors"][0]["message"]), int(response.headers["Retry-After"])


async def left(mirror: RunningMirror) -> tuple[float, float]:
    """What the metrics page says is left, and of how many."""
    remaining = await mirror.metric('mirror_ratelimit_remaining{upstream="docker.io"}')
    return remaining, await mirror.metric('mirror_ratelimit_limit{upstream="docker.io"}')


async def spending(mirror: RunningMirror) -> str:
    """What the metrics page says may be spent."""
    states = {
        state: await mirror.metric(f'mirror_ratelimit_spending{{spending="{state}",upstream="docker.io"}}')
        for state in ("free", "saving", "exhausted")
    }
    [found] = [state for state, value in states.items() if value]
    return found


# What is told. -----------------------------------------------------------------------------------------------


async def test_what_is_left_is_told(mirror: RunningMirror, limit: PullLimit, clock: SettableClock) -> None:
    assert await left(mirror) == (0, 0)
    forecast = 'mirror_ratelimit_exhausted_in_seconds{upstream="docker.io"}'
    assert await mirror.metric(forecast) == math.inf
    for number in range(3):
        await pulled(mirror, tag(number))
        clock.now += 60
    assert await left(mirror) == (7, 10)
    assert await mirror.metric('mirror_pulls_spent_total{upstream="docker.io"}') == limit.pulls[ADDRESS] == 3
    # From 10 to 7 in three minutes.
    assert await mirror.metric(forecast) == 420


async def test_a_head_tells_as_well(mirror: RunningMirror, limit: PullLimit, clock: SettableClock) -> None:
    await pulled(mirror, tag(0))
    limit.spent[ADDRESS] = 4
    clock.now += 301
    await pulled(mirror, tag(0))
    assert await left(mirror) == (6, 10)


async def test_what_a_cdn_says_of_limits_says_nothing(
    start_mirror: StartMirror, registry: FakeRegistry, cdn: FakeCDN
) -> None:
    registry.add_image(APP, "0", IMAGES[0])
    registry.redirect_manifests(cdn)
    for name in ("ratelimit-limit", "ratelimit-remaining"):
        cdn.always("*", faults.header(name, "5;w=60"))
    async with start_mirror() as mirror:
        await pulled(mirror, tag(0))
        assert await left(mirror) == (0, 0)


async def test_what_the_headers_say_may_be_anything(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    for number, image in enumerate(IMAGES):
        registry.add_image(APP, str(number), image)
    values = ["", "soon", "-1;w=60", "9" * 5000, "0;w=60", "9;w=" + "9" * 5000, ";;;w==,", "\xff\xfe"]
    async with start_mirror() as mirror:
        for number, value in enumerate(values):
            registry.headers = {
                "ratelimit-limit": value,
                "ratelimit-remaining": value,
                "docker-ratelimit-source": value,
            }
            await pulled(mirror, tag(number))


async def test_a_registry_that_tells_of_no_limit_has_none(
    start_mirror: StartMirror, registry: FakeRegistry, limit: PullLimit
) -> None:
    limit.limits[ADDRESS] = None
    async with start_mirror() as mirror:
        for number in range(len(IMAGES)):
            await pulled(mirror, tag(number))
        assert await left(mirror) == (0, 0)
        assert await spending(mirror) == "free"


async def test_nobody_is_told_for_whom_the_registry_counts(
    mirror: RunningMirror, limit: PullLimit, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(len(IMAGES)):
        assert ADDRESS not in str((await mirror.get(tag(number)))[0].headers)
    async with mirror.session.get(f"{mirror.admin_url}/metrics", headers={"Accept-Encoding": "identity"}) as page:
        assert ADDRESS not in await page.text()
    log = capsys.readouterr().out
    assert ADDRESS not in log
    # What changed is said when it changes, and not with each request.
    assert [log.count(said) for said in ("few pulls are left", "limit reached", "enough pulls")] == [1, 1, 0]


# The end of the limit. ---------------------------------------------------------------------------------------


async def test_at_zero_no_pull_is_tried_and_the_answer_says_why(
    mirror: RunningMirror, journal: Journal, limit: PullLimit, clock: SettableClock
) -> None:
    for number in range(10):
        await pulled(mirror, tag(number))
    assert await spending(mirror) == "exhausted"
    journal.clear()
    message, seconds = await refused(mirror, tag(10))
    assert message == (
        "docker.io gives the mirror's address 10 pulls in 6 h, and none is left; it is asked again in 60 s"
    )
    assert seconds == LOOK_SECONDS
    await refused(mirror, digest(11))
    # The tag was resolved, for free; nothing was pulled.
    assert journal.paths() == [f"HEAD {tag(10)}"]
    # What is cached goes on, and is revalidated for nothing.
    assert await pulled(mirror, tag(0)) == "mirror; hit"
    clock.now += 3601
    assert await pulled(mirror, tag(0)) == "mirror; fwd=stale; fwd-status=200"
    assert journal.count("GET") == 0
    assert limit.pulls[ADDRESS] == 10


async def test_it_goes_on_when_something_is_left_again(
    mirror: RunningMirror, journal: Journal, limit: PullLimit, clock: SettableClock
) -> None:
    limit.spent[ADDRESS] = 9
    await pulled(mirror, digest(0))
    journal.clear()
    # By digest there is no HEAD of its own: now and then one is sent to see.
    for _ in range(3):
        await refused(mirror, digest(1))
    assert journal.count() == 0
    clock.now += LOOK_SECONDS
    for _ in range(3):
        await refused(mirror, digest(1))
    assert journal.paths() == [f"HEAD {digest(1)}"]
    limit.spent[ADDRESS] = 0
    clock.now += LOOK_SECONDS
    await pulled(mirror, digest(1))
    assert journal.paths()[1:] == [f"HEAD {digest(1)}", f"GET {digest(1)}"]
    assert await spending(mirror) == "free"


async def test_who_comes_while_somebody_looks_is_not_refused_what_is_there_again(
    mirror: RunningMirror, journal: Journal, limit: PullLimit, clock: SettableClock
) -> None:
    limit.spent[ADDRESS] = 9
    await pulled(mirror, digest(0))
    limit.spent[ADDRESS] = 0
    clock.now += LOOK_SECONDS
    journal.clear()
    await asyncio.gather(*(pulled(mirror, digest(number)) for number in range(1, 9)))
    assert (journal.count("HEAD"), journal.count("GET")) == (1, 8)


async def test_who_comes_while_somebody_looks_in_vain_does_not_look_again(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, limit: PullLimit, clock: SettableClock
) -> None:
    limit.spent[ADDRESS] = 9
    await pulled(mirror, digest(0))
    clock.now += LOOK_SECONDS
    journal.clear()
    registry.always("*", faults.status(429, 600))
    refusals = await asyncio.gather(*(refused(mirror, digest(number)) for number in range(1, 9)))
    assert {seconds for _, seconds in refusals} == {600}
    assert journal.count() == 1


async def test_what_is_not_there_is_a_404_also_when_nothing_is_left(
    mirror: RunningMirror, registry: FakeRegistry, limit: PullLimit, clock: SettableClock
) -> None:
    limit.spent[ADDRESS] = 9
    await pulled(mirror, digest(0))
    clock.now += LOOK_SECONDS
    missing = f"/v2/{APP}/manifests/sha256:{'0' * 64}"
    registry.absent(missing)
    assert (await mirror.get(missing))[0].status == 404


async def test_blobs_are_not_counted(mirror: RunningMirror, limit: PullLimit) -> None:
    limit.spent[ADDRESS] = 9
    await pulled(mirror, tag(0))
    assert await spending(mirror) == "exhausted"
    for blob in IMAGES[0].blobs:
        assert (await mirror.get(f"/v2/{APP}/blobs/{blob.digest}"))[0].status == 200


async def test_a_hundred_clients_do_not_spend_more_than_there_is(mirror: RunningMirror, limit: PullLimit) -> None:
    limit.spent[ADDRESS] = 5
    await pulled(mirror, digest(11))
    answers = await asyncio.gather(*(mirror.get(digest(number)) for number in range(11) for _ in range(9)))
    assert {response.status for response, _ in answers} == {200, 503}
    assert limit.spent[ADDRESS] == 10


# Throttled. --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, HOLD_SECONDS), (17, 17), (0, 1), ("soon", HOLD_SECONDS), (10**9, LONGEST_HOLD)],
    ids=["nothing", "17 s", "0 s", "nonsense", "decades"],
)
async def test_after_a_429_of_no_pull_limit_nothing_is_sent_for_as_long_as_it_says(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, clock: SettableClock, header: Any, seconds: float
) -> None:
    await pulled(mirror, tag(0))
    registry.always("*", faults.status(429, header))
    message, retry_after = await refused(mirror, tag(1))
    assert retry_after == seconds
    assert message == f"docker.io limits the requests of the mirror's address; it is asked again in {seconds:.0f} s"
    journal.clear()
    clock.now += seconds - 0.5
    registry.heal()
    layer, _ = IMAGES[0].blobs
    for path in (tag(1), digest(2), f"/v2/{APP}/blobs/{layer.digest}", f"/v2/{APP}/tags/list"):
        assert (await refused(mirror, path))[1] == 1
    assert await pulled(mirror, tag(0)) in ("mirror; hit", "mirror; fwd=stale; detail=limit-reached")
    assert journal.count() == 0
    clock.now += 0.5
    # What costs nothing goes first.
    await pulled(mirror, digest(2))
    assert journal.paths() == [f"HEAD {digest(2)}", f"GET {digest(2)}"]
    assert await spending(mirror) == "free"


@pytest.mark.parametrize("is_silent", [False, True], ids=["by headers", "by words"])
@pytest.mark.parametrize("header", [None, 600])
@pytest.mark.parametrize("has_tokens", [False, True], ids=["open", "tokens"])
async def test_after_a_429_of_the_pull_limit_what_was_paid_for_comes(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    limit: PullLimit,
    clock: SettableClock,
    is_silent: bool,
    header: int | None,
    has_tokens: bool,
) -> None:
    if has_tokens:
        registry.auth = TokenAuth(token_service)
    await pulled(mirror, tag(0))
    seconds = header or HOLD_SECONDS
    # Somebody else behind the same address has spent the rest, of which the mirror has not heard.
    limit.spent[ADDRESS], limit.retry_after, limit.is_silent = 10, header, is_silent
    message, retry_after = await refused(mirror, digest(1))
    assert "none is left" in message if not is_silent else "limits the pulls of the mirror's address" in message
    assert retry_after == seconds
    journal.clear()
    for blob in IMAGES[0].blobs:
        assert (await mirror.get(f"/v2/{APP}/blobs/{blob.digest}"))[0].status == 200
    assert (await mirror.get(f"/v2/{APP}/tags/list"))[0].status == 200
    limit.spent[ADDRESS] = 0
    clock.now += seconds - 0.5
    # That blobs come says nothing of pulls.
    assert await spending(mirror) == "exhausted"
    for number in (1, 2):
        await refused(mirror, digest(number))
    assert [path for path in journal.paths() if "manifests" in path] == []
    clock.now += 0.5
    await pulled(mirror, digest(2))
    assert journal.paths()[-2:] == [f"HEAD {digest(2)}", f"GET {digest(2)}"]
    assert await spending(mirror) == "free"


async def test_where_heads_are_refused_as_well_they_are_held_back(
    mirror: RunningMirror, journal: Journal, limit: PullLimit, clock: SettableClock
) -> None:
    await pulled(mirror, tag(0))
    limit.spent[ADDRESS], limit.retry_after, limit.refuses_heads = 10, 600, True
    journal.clear()
    for number in range(1, 9):
        await refused(mirror, tag(number))
    clock.now += 599
    assert await pulled(mirror, tag(0)) == "mirror; fwd=stale; detail=limit-reached"
    assert journal.paths() == [f"HEAD {tag(1)}"]
    for blob in IMAGES[0].blobs:
        assert (await mirror.get(f"/v2/{APP}/blobs/{blob.digest}"))[0].status == 200


async def test_a_429_while_something_is_left_is_about_everything(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    await pulled(mirror, tag(0))
    left = [faults.header(f"ratelimit-{name}", "9;w=21600") for name in ("limit", "remaining")]
    registry.fault(digest(1), faults.both(faults.status(429, 600), *left))
    await refused(mirror, digest(1))
    journal.clear()
    assert (await refused(mirror, f"/v2/{APP}/blobs/{IMAGES[0].blobs[0].digest}"))[1] == 600
    assert journal.count() == 0


@pytest.mark.parametrize("words", [b"", b"slow down", b"x" * 100_000 + b" pull rate limit", b"\xff\xfe"])
async def test_a_429_in_other_words_is_about_everything(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, words: bytes
) -> None:
    for number, image in enumerate(IMAGES):
        registry.add_image(APP, str(number), image)
    async with start_mirror() as mirror:
        await pulled(mirror, tag(0))
        registry.fault(digest(1), faults.answer_with(429, words))
        await refused(mirror, digest(1))
        journal.clear()
        await refused(mirror, f"/v2/{APP}/blobs/{IMAGES[0].blobs[0].digest}")
        assert journal.count() == 0


async def test_a_429_whose_words_do_not_come_is_heard(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    for number, image in enumerate(IMAGES):
        registry.add_image(APP, str(number), image)
    async with start_mirror() as mirror:
        await pulled(mirror, tag(0))
        words = b"You have reached your pull rate limit."
        registry.fault(digest(1), faults.both(faults.answer_with(429, words), faults.cut_at(10)))
        await refused(mirror, digest(1))
        journal.clear()
        await refused(mirror, f"/v2/{APP}/blobs/{IMAGES[0].blobs[0].digest}")
        assert journal.count() == 0


async def test_a_cdn_that_is_throttled_does_not_speak_for_the_registry(
    start_mirror: StartMirror, registry: FakeRegistry, cdn: FakeCDN, limit: PullLimit
) -> None:
    limit.limits[ADDRESS] = None
    registry.redirect_manifests(cdn)
    cdn.always("*", faults.status(429, 17), method="GET")
    async with start_mirror() as mirror:
        assert await refused(mirror, tag(0)) == ("upstream limits the rate of requests", 17)
        cdn.heal()
        await pulled(mirror, tag(1))
        assert await spending(mirror) == "free"


async def test_a_throttled_token_service_is_left_alone(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.always("*", faults.status(429, 600))
    for number in range(3):
        message, retry_after = await refused(mirror, tag(number))
        assert message == "upstream's token service limits requests"
        assert 590 < retry_after <= 600
    assert journal.count(host="tokens") == 1


async def test_where_nothing_is_left_at_one_endpoint_the_next_one_pays(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    clock: SettableClock,
    limit: PullLimit,
) -> None:
    for number, image in enumerate(IMAGES):
        other_registry.add_image(APP, str(number), image)
    other_registry.pull_limit = PullLimit(5, clock=clock)
    upstream = {**docker_io(registry, token_service), "endpoints": [registry.url, other_registry.url]}
    limit.spent[ADDRESS] = 8
    async with start_mirror(clock=clock, upstreams={"docker.io": upstream}) as mirror:
        for number in range(7):
            await pulled(mirror, digest(number))
        assert (limit.spent[ADDRESS], other_registry.pull_limit.spent[ADDRESS]) == (10, 5)
        await refused(mirror, digest(7))
        # They count for the same address, each on its own.
        assert await spending(mirror) == "exhausted"


# Several accounts. -------------------------------------------------------------------------------------------


@pytest.fixture
def accounts(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> dict[str, Any]:
    """An upstream with two accounts, rich and poor."""
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"poor": "penny", "rich": "pound"}
    credentials = []
    for username, password in token_service.accounts.items():
        (tmp_path / username).write_text(password)
        credentials.append({"username": username, "password_file": str(tmp_path / username)})
    return {**docker_io(registry, token_service), "serve_private": "everyone", "credentials": credentials}


@pytest.fixture
def two(limit: PullLimit) -> PullLimit:
    """Three pulls for the poor account, seven for the rich."""
    limit.limits = {"poor": 3, "rich": 7}
    return limit


async def test_the_account_pays_that_has_the_most_left(
    start_mirror: StartMirror, clock: SettableClock, two: PullLimit, accounts: dict[str, Any]
) -> None:
    async with start_mirror(clock=clock, upstreams={"docker.io": accounts}) as mirror:
        seen = []
        for number in range(10):
            await pulled(mirror, tag(number))
            seen.append((two.spent["poor"], two.spent["rich"]))
        # Both are asked once to see what they have; then they come down together.
        assert seen[-1] == (3, 7)
        assert all(poor <= 1 for poor, rich in seen if rich < 4)
        assert await left(mirror) == (0, 10)
        assert (await refused(mirror, tag(10)))[0].startswith("docker.io gives each of the mirror's accounts ")


async def test_an_account_that_is_throttled_is_passed_over_for_a_while(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    clock: SettableClock,
    limit: PullLimit,
    accounts: dict[str, Any],
) -> None:
    def throttled(answer: Answer) -> Answer:
        return faults.status(429, 600)(answer) if answer.header("docker-ratelimit-source") == "rich" else answer

    limit.limits = {"poor": 50, "rich": 100}
    async with start_mirror(clock=clock, upstreams={"docker.io": accounts}) as mirror:
        for number in range(3):
            await pulled(mirror, tag(number))
        assert limit.spent["rich"]
        before = dict(limit.spent)
        registry.always("*", throttled)
        for number in range(3, 6):
            await pulled(mirror, tag(number))
        registry.heal()
        await pulled(mirror, tag(6))
        assert limit.spent["poor"] == before.get("poor", 0) + 4
        assert await spending(mirror) == "free"
        clock.now += 600
        await pulled(mirror, tag(7))
        assert limit.spent["rich"] == before["rich"] + 1


@pytest.mark.parametrize("deny_status", [None, 403])
@pytest.mark.parametrize("reader", ["poor", "rich"])
async def test_what_only_one_account_may_read_is_had_by_it(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    two: PullLimit,
    accounts: dict[str, Any],
    reader: str,
    deny_status: int | None,
) -> None:
    registry.add_image("team/app", "1", IMAGES[0])
    token_service.restrict("team/*", reader)
    token_service.deny_status = deny_status
    async with start_mirror(upstreams={"docker.io": accounts}) as mirror:
        await pulled(mirror, "/v2/team/app/manifests/1")
        journal.clear()
        for blob in IMAGES[0].blobs:
            assert (await mirror.get(f"/v2/team/app/blobs/{blob.digest}"))[0].status == 200
        assert set(two.spent) == {reader}
        # The one that was let in is asked first from then on.
        assert journal.count() == len(IMAGES[0].blobs)
        token_service.restrict("none/*")
        registry.add_image("none/app", "1", IMAGES[1])
        assert (await mirror.get("/v2/none/app/manifests/1"))[0].status == 403


async def test_what_any_of_the_accounts_opened_is_private(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    two: PullLimit,
    accounts: dict[str, Any],
) -> None:
    registry.add_image("team/app", "1", IMAGES[0])
    token_service.restrict("team/*", "rich")
    async with start_mirror(upstreams={"docker.io": accounts}) as mirror:
        await pulled(mirror, "/v2/team/app/manifests/1")
    async with start_mirror(upstreams={"docker.io": {**accounts, "serve_private": "nobody"}}) as mirror:
        assert (await mirror.get("/v2/team/app/manifests/1"))[0].status == 403
        await pulled(mirror, tag(0))


async def test_a_password_that_cannot_be_had_leaves_the_other_account(
    start_mirror: StartMirror, two: PullLimit, accounts: dict[str, Any]
) -> None:
    accounts["credentials"][0] = {"helper": "that-is-nowhere"}
    async with start_mirror(upstreams={"docker.io": accounts}) as mirror:
        await pulled(mirror, tag(0))
        assert set(two.spent) == {"rich"}


async def test_accounts_of_a_registry_that_wants_passwords(
    start_mirror: StartMirror, registry: FakeRegistry, limit: PullLimit, accounts: dict[str, Any]
) -> None:
    registry.auth = BasicAuth("rich", "pound")
    async with start_mirror(upstreams={"docker.io": accounts}) as mirror:
        for number in range(2):
            await pulled(mirror, tag(number))
        assert limit.spent == {"rich": 2}


async def test_two_accounts_that_are_counted_together_are_one(
    start_mirror: StartMirror, registry: FakeRegistry, limit: PullLimit, accounts: dict[str, Any]
) -> None:
    registry.always("*", faults.header("docker-ratelimit-source", ADDRESS))
    limit.limits = {"poor": 10, "rich": 10}
    async with start_mirror(upstreams={"docker.io": accounts}) as mirror:
        for number in range(4):
            await pulled(mirror, tag(number))
        assert (await left(mirror))[1] == 10
