"""What 1,000 pulls by clients cost on Docker Hub's counter: with the mirror, without it, and where it is limited."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.pull_limit import ADDRESS, PullLimit
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.ways_of_pulling import WAYS, Client, Way
from tests.unit.proxy.doubles import SettableClock

PULLS = 1000
HOURS = 6
HOUR = 3600
TAGS = 10
EVERY = HOURS * HOUR / PULLS
"""Seconds from one pull to the next."""

MOVES = {0: (1, 2, 3, 4, 5), 1: (2, 4), 2: (3,)}
"""Which tags move, in which hours; the others stay what they are."""

LOTS = 10**6


@pytest.fixture(autouse=True)
def forgets_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are remembered by another clock, of which a moment passes in these six hours."""
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 0.0)


@dataclass
class Day:
    """Six hours and more: somebody who has nothing yet pulls one of ten tags every 21.6 s, some of which move."""

    registry: FakeRegistry
    clock: SettableClock
    moved: set[tuple[int, int]] = field(default_factory=set)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock.now
        for number in range(TAGS):
            self.publish(f"library/app-{number}")

    @property
    def hours(self) -> float:
        """How long it has lasted."""
        return (self.clock.now - self.began) / HOUR

    def publish(self, repository: str, version: int = 0) -> None:
        """Let `latest` be something else from now on: an index of two images."""
        images = (content.image(1, 100, seed=f"{repository}/{version}/{one}") for one in range(2))
        self.registry.add_image(repository, "latest", content.index(*images))

    def pulls(self, hours: float) -> Iterator[tuple[str, str]]:
        """What is pulled, each with its repository and architecture, while time passes."""
        chance = random.Random(7)
        for number in range(round(hours * HOUR / EVERY)):
            self._move_tags()
            tag = min(int(chance.expovariate(0.3)), TAGS - 1)
            yield f"library/app-{tag}", ("amd64", "arm64")[number % 2]
            self.clock.now += EVERY

    def _move_tags(self) -> None:
        for number, hours in MOVES.items():
            for hour in hours:
                if self.hours >= hour and (number, hour) not in self.moved:
                    self.moved.add((number, hour))
                    self.publish(f"library/app-{number}", hour)


# Without a limit. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_thousand_pulls_of_ten_tags_in_six_hours(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, way: Way
) -> None:
    clock = SettableClock()
    registry.pull_limit = PullLimit(LOTS, clock=clock)
    day = Day(registry, clock)
    async with start_mirror(clock=clock) as mirror:
        client = Client(mirror.session, mirror.url)
        for repository, architecture in day.pulls(HOURS):
            await way(client, repository, "latest", architecture)
        assert set(client.answered) == {200}
        spent, heads = registry.pull_limit.pulls[ADDRESS], journal.count("HEAD")
        assert await mirror.metric('mirror_pulls_spent_total{upstream="docker.io"}') == spent
    without = await spent_without(day, way)
    print(f"{PULLS} pulls of {TAGS} tags in {HOURS} h by {way.__name__}; {len(day.moved)} times a tag moved")
    print(f"  requests of clients                   {client.asked.total():6}")
    print(f"  HEADs sent upstream, which are free   {heads:6}")
    print(f"  pulls counted by the registry         {spent:6}")
    print(f"  pulls counted without a mirror        {without:6}")
    # An index and two images for each thing that a tag was, at most, and no more HEADs than there were TTLs.
    assert TAGS + len(day.moved) < spent <= 3 * (TAGS + len(day.moved))
    assert heads <= TAGS * (HOURS * 12 + 1)
    assert without == 2 * PULLS


async def spent_without(day: Day, way: Way) -> int:
    """What the same clients spend if they ask the registry themselves; found out with a tenth of them."""
    limit = day.registry.pull_limit = PullLimit(LOTS, clock=day.clock)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        client = Client(session, day.registry.url)
        for repository, architecture in day.pulls(HOURS / 10):
            await way(client, repository, "latest", architecture)
    return limit.pulls[ADDRESS] * 10


# With a limit. -----------------------------------------------------------------------------------------------

JOBS = 40
"""Images that nobody has asked for before, pulled from one and a half hours on, and again when all is over."""


@dataclass
class Row:
    """What half an hour was like."""

    hours: float
    ok: int
    stale: int
    refused: int
    left: int
    spending: str


class Watch:
    """Writes down what each half hour was like."""

    def __init__(self, mirror: RunningMirror, client: Client, limit: PullLimit) -> None:
        self.rows: list[Row] = []
        self._mirror = mirror
        self._client = client
        self._limit = limit

    async def note(self, hours: float) -> None:
        client = self._client
        stale = sum(count for said, count in client.said.items() if "saving-pulls" in said and "stale" in said)
        left = self._limit.limit - self._limit.spent[ADDRESS]
        row = Row(hours, client.answered[200], stale, client.answered[503], left, await spending(self._mirror))
        self.rows.append(row)
        client.answered.clear()
        client.said.clear()

    def during(self, state: str) -> list[Row]:
        return [row for row in self.rows if row.spending == state]


async def spending(mirror: RunningMirror) -> str:
    """What may be spent, as the metrics page has it."""
    states = ("free", "saving", "exhausted")
    series = 'mirror_ratelimit_spending{{spending="{}",upstream="docker.io"}}'
    [found] = [state for state in states if await mirror.metric(series.format(state))]
    return found


async def test_a_limit_of_a_hundred_saving_exhaustion_and_recovery(
    registry: FakeRegistry, token_service: FakeTokenService, journal: Journal, start_mirror: StartMirror
) -> None:
    clock = SettableClock()
    limit = registry.pull_limit = PullLimit(100, clock=clock)
    day = Day(registry, clock)
    for number in range(JOBS):
        day.publish(f"library/job-{number}")
    waiting = [f"library/job-{number}" for number in range(JOBS)]
    upstream = {**docker_io(registry, token_service), "pull_reserve": "25%"}
    async with start_mirror(clock=clock, upstreams={"docker.io": upstream}) as mirror:
        client, job = Client(mirror.session, mirror.url), Client(mirror.session, mirror.url)
        watch = Watch(mirror, client, limit)
        for number, (repository, architecture) in enumerate(day.pulls(HOURS + 2)):
            await client.podman(repository, "latest", architecture)
            if day.hours >= len(watch.rows) / 2 + 0.5:
                await watch.note(len(watch.rows) / 2 + 0.5)
            if waiting and number % 12 == 0 and (1.5 <= day.hours < 5 or day.hours > HOURS + 0.5):
                before = job.answered[200]
                await job.podman(waiting[0], "latest", "amd64")
                waiting = waiting[1:] if job.answered[200] == before + 2 else [*waiting[1:], waiting[0]]
    print(f"{limit.limit} pulls in {HOURS} h, {upstream['pull_reserve']} of them in reserve; a row is half an hour")
    print(f"       requests for {TAGS} cached tags:")
    print("until  answered  of these stale  refused  pulls left  what may be spent")
    for row in watch.rows:
        print(f"{row.hours:3} h {row.ok:9} {row.stale:15} {row.refused:8} {row.left:11}  {row.spending}")
    print(f"{JOBS} images that nobody had before, from 1.5 h on: {job.answered[503]} requests were refused")
    print("(503, Retry-After), and all images were there in the end")
    # What is cached was had by everybody at any time, and not one pull was tried in vain.
    assert sum(row.refused for row in watch.rows) == 0
    assert journal.count(status=429) == 0
    # It saved before nothing was left, and served stale what had moved; and caught up in the end.
    states = [row.spending for row in watch.rows]
    assert states.index("free") < states.index("saving") < states.index("exhausted")
    assert states[-1] == "free"
    assert sum(row.stale for row in watch.during("exhausted")) > 100
    assert watch.rows[-1].stale == 0
    assert job.answered[503] > 0
    assert not waiting
