"""What 1,000 pulls by clients cost on Docker Hub's counter: with the mirror, without it, and where it is limited."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.pull_limit import ADDRESS, PullLimit
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import StartMirror
from tests.integration.ways_of_pulling import WAYS, Client, Way
from tests.unit.proxy.doubles import SettableClock

PULLS = 1000
HOURS = 6
HOUR = 3600
TAGS = 10
MOVES = {0: (1, 2, 3, 4, 5), 1: (2, 4), 2: (3,)}
"""Which tags move, in which hours; the others stay what they are."""

LOTS = 10**6


@pytest.fixture(autouse=True)
def forgets_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are remembered by another clock, of which a moment passes in these six hours."""
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 0.0)


@dataclass
class Day:
    """Six hours: somebody who has nothing yet pulls one of the ten tags every 21.6 s, some of which move."""

    registry: FakeRegistry
    clock: SettableClock
    moved: set[tuple[int, int]] = field(default_factory=set)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock.now
        for number in range(TAGS):
            self.publish(number, 0)

    @property
    def hours(self) -> float:
        """How long it has lasted."""
        return (self.clock.now - self.began) / HOUR

    def publish(self, number: int, version: int) -> None:
        """Let a tag be something else from now on: an index of two images."""
        images = (content.image(1, 100, seed=f"{number}/{version}/{one}") for one in range(2))
        self.registry.add_image(f"library/app-{number}", "latest", content.index(*images))

    async def pass_by(self, client: Client, way: Way, pulls: int = PULLS) -> None:
        """Let so many pulls happen."""
        chance = random.Random(7)
        for number in range(pulls):
            self.move_tags()
            tag = min(int(chance.expovariate(0.3)), TAGS - 1)
            await way(client, f"library/app-{tag}", "latest", ("amd64", "arm64")[number % 2])
            self.clock.now += HOURS * HOUR / PULLS

    def move_tags(self) -> None:
        """Move what has its time by now."""
        for number, hours in MOVES.items():
            for hour in hours:
                if self.hours >= hour and (number, hour) not in self.moved:
                    self.moved.add((number, hour))
                    self.publish(number, hour)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_thousand_pulls_of_ten_tags_in_six_hours(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, way: Way
) -> None:
    clock = SettableClock()
    registry.pull_limit = PullLimit(LOTS, clock=clock)
    day = Day(registry, clock)
    async with start_mirror(clock=clock) as mirror:
        client = Client(mirror.session, mirror.url)
        await day.pass_by(client, way)
        assert set(client.answered) == {200}
        spent, heads = registry.pull_limit.pulls[ADDRESS], journal.count("HEAD")
        assert await mirror.metric('mirror_pulls_spent_total{upstream="docker.io"}') == spent
    without = await spent_without(day, way)
    print(f"{PULLS} pulls of {TAGS} tags in {HOURS} h by {way.__name__}, {len(day.moved)} times a tag moved")
    print(f"  requests of clients       {sum(client.asked.values()):6}")
    print(f"  HEADs sent upstream       {heads:6}, which are free")
    print(f"  pulls spent               {spent:6}")
    print(f"  pulls spent without       {without:6}")
    # An index and two images for each thing that a tag was, at most, and no more HEADs than there were TTLs.
    assert TAGS + len(day.moved) < spent <= 3 * (TAGS + len(day.moved))
    assert heads <= TAGS * (HOURS * 12 + 1)
    assert without == 2 * PULLS


async def spent_without(day: Day, way: Way) -> int:
    """What the same clients spend if they ask the registry themselves; found out with a tenth of them."""
    limit = day.registry.pull_limit = PullLimit(LOTS, clock=day.clock)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await day.pass_by(Client(session, day.registry.url), way, PULLS // 10)
    return limit.pulls[ADDRESS] * 10
