from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mirror import errors
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.limits.hold import Cost
from mirror.proxy.limits.purses import Purses
from mirror.proxy.rate_limit import RateLimit, Reserve
from mirror.proxy.tasks import Tasks
from mirror.upstream.answers import RegistryRequest
from mirror.upstream.auth.account import Account, Accounts, Unable, cost_of, what_they_say
from mirror.upstream.auth.authenticator import AuthPolicy
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.egress import Egress
from tests.unit.proxy.doubles import MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.answers import ASKED, answer
from tests.unit.virtual_time import in_virtual_time, steps

ADDRESS = "203.0.113.7"
APP, SECRET = Repository("library/app"), Repository("team/secret")


def three() -> list[Account]:
    """Three accounts of one upstream, of which nothing is known."""
    observer = Recorder()
    egress = Egress("test", lambda: "mirror-test")
    tokens = TokenServices(egress, MemoryCache(SettableClock()), Tasks(observer), observer)
    purses = Purses("x", Reserve(), SettableClock(), observer)
    return [
        Account(AuthPolicy("x", ASKED), tokens, observer, purses.purse("there", name, "an account", pays=True))
        for name in "abc"
    ]


def test_the_one_with_the_most_left_is_first_and_no_limit_is_the_most() -> None:
    first, second, third = three()
    accounts = Accounts([first, second, third])
    assert accounts.in_turn(APP) == [first, second, third]
    first.purse.told(RateLimit(100, 5), None)
    third.purse.told(RateLimit(10, 6), None)
    assert accounts.in_turn(APP) == [second, third, first]


def test_one_that_was_let_in_goes_first_where_it_was() -> None:
    first, second, third = three()
    accounts = Accounts([first, second, third])
    accounts.let_in(SECRET, third)
    assert accounts.in_turn(SECRET) == [third, first, second]
    assert accounts.in_turn(APP) == [first, second, third]
    accounts.let_in(SECRET, second)
    assert accounts.in_turn(SECRET) == [second, first, third]


def test_who_was_let_in_where_is_not_remembered_without_end() -> None:
    accounts = Accounts(three())
    for number in range(2000):
        accounts.let_in(Repository(f"team/app-{number}"), accounts.in_turn(APP)[2])
    assert len(accounts._readers) == 1000


DENIED, THROTTLED = errors.Denied("no"), errors.UpstreamThrottled("429", 60)
SOONER, UNREADABLE = errors.LimitReached("none is left", 5), errors.CredentialsUnavailable("no password")


@pytest.mark.parametrize(
    ("refusals", "said"),
    [
        ([DENIED], DENIED),
        ([DENIED, errors.Denied("another no")], DENIED),
        ([DENIED, THROTTLED], THROTTLED),
        ([THROTTLED, SOONER, DENIED], SOONER),
        ([DENIED, UNREADABLE], UNREADABLE),
        ([UNREADABLE, THROTTLED], THROTTLED),
    ],
)
def test_a_no_is_final_if_everybody_has_been_told_it(refusals: list[Unable], said: Unable) -> None:
    assert what_they_say(refusals) is said


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", list(Kind))
def test_what_counts_is_the_get_of_a_manifest(method: str, kind: Kind) -> None:
    request = RegistryRequest(method, kind, APP, "x", errors.ManifestUnknown)
    of_a_manifest = Cost.PULL if method == "GET" else Cost.LOOK
    assert cost_of(request) is (of_a_manifest if kind is Kind.MANIFEST else Cost.NOTHING)


@pytest.mark.parametrize("status", [200, 404, 429])
async def test_only_the_registry_speaks_of_its_limit(status: int) -> None:
    account, *_ = three()
    headers = {"ratelimit-limit": "10;w=60", "ratelimit-remaining": "0;w=60", "Retry-After": "5"}
    await account.hears(answer(status, headers=headers), Cost.PULL, is_own=False)
    assert not account.purse.is_doubtful()
    assert not account.purse.is_held(Cost.PULL)
    await account.hears(answer(status, headers=headers), Cost.PULL, is_own=True)
    assert account.purse.is_doubtful()
    assert account.purse.is_held(Cost.PULL) is (status == 429)
    assert not account.purse.is_held(Cost.LOOK)


@pytest.mark.parametrize(
    ("window", "source", "held"),
    [(";w=60", None, Cost.PULL), ("", ADDRESS, Cost.PULL), (";w=60", ADDRESS, Cost.PULL), ("", None, Cost.NOTHING)],
)
async def test_a_limit_that_is_not_told_as_docker_hub_tells_its_own_is_one_of_requests(
    window: str, source: str | None, held: Cost
) -> None:
    account, *_ = three()
    headers = {"ratelimit-limit": f"10{window}", "ratelimit-remaining": f"0{window}"}
    headers |= {"docker-ratelimit-source": source} if source else {}
    await account.hears(answer(429, headers=headers), Cost.PULL, is_own=True)
    assert [cost for cost in Cost if account.purse.is_held(cost)] == [cost for cost in Cost if cost >= held]


class SilentContent:
    """A body of which nothing comes."""

    async def iter_any(self) -> Any:
        await asyncio.Event().wait()
        yield b""


@pytest.mark.parametrize("turns", range(4))
@in_virtual_time
async def test_a_429_is_heard_also_by_who_gives_up_before_its_words_have_come(turns: int) -> None:
    account, *_ = three()
    refused = answer(429, headers={"Retry-After": "5"})
    cast(Any, refused).content = SilentContent()
    hearing = asyncio.create_task(account.hears(refused, Cost.PULL, is_own=True))
    await steps(1 + turns)
    hearing.cancel()
    await asyncio.wait([hearing])
    assert account.purse.is_held(Cost.NOTHING)
    assert cast(Any, refused).released


@in_virtual_time
async def test_the_words_of_a_429_are_not_waited_for_for_long() -> None:
    account, *_ = three()
    refused = answer(429)
    cast(Any, refused).content = SilentContent()
    await account.hears(refused, Cost.PULL, is_own=True)
    assert asyncio.get_running_loop().time() == 1
    assert account.purse.is_held(Cost.NOTHING)
