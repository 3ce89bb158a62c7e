"""All that warms, built from its configuration."""

from __future__ import annotations

import asyncio
import platform
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from mirror.admin.guard import Guard
from mirror.admin.warming import WarmingApi
from mirror.config import Config
from mirror.errors import ListUnreadable
from mirror.oci.image_list import image_list
from mirror.oci.platforms import Platforms
from mirror.proxy.events.observer import Observer
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.warming.hot import Asking, KeepHot, Requests
from mirror.proxy.warming.kept import Kept
from mirror.proxy.warming.rounds import Plan, Rounds
from mirror.proxy.warming.warm import Warm, Ways
from mirror.store.cache import Cache

_MACHINES = {"armv6l": "arm/v6", "armv7l": "arm/v7"}
# What the kernel calls them; others are called so by everybody, or known by both names.

_LARGEST = 1024 * 1024
# Bytes of a file that lists images.


class Warming:
    """What warms for callers of the API, in rounds, and what keeps hot tags fresh."""

    def __init__(self, config: Config, ways: Ways, cache: Cache, clock: Clock, observer: Observer) -> None:
        self._config = config
        self._ways = ways
        self._cache = cache
        self._clock = clock
        self._observer = observer
        self._usual = usual_platforms() if config.warm.platforms is None else Platforms.parse(config.warm.platforms)
        self.requests = Requests(time.monotonic)
        self.warm = Warm(ways, observer)

    def api(self, guard: Guard) -> WarmingApi:
        """Return what warms for callers."""
        return WarmingApi(self.warm, self._usual, guard)

    def work(self, *, leads: bool) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield what goes on while the mirror runs, each with a name, for whoever runs it; nothing if it is offline.

        Rounds are for the process that `leads`; tags are hot where clients ask for them.
        """
        config, cache = self._config, self._cache
        if config.offline:
            return
        plan = Plan(self._listed, self._usual, config.warm.every)
        kept = Kept(cache.pin_board.pinned, cache.catalogue, config.upstreams, self._usual)
        chance = random.Random().random  # noqa: S311  # spreads rounds, and keeps no secret
        if leads:
            yield "warming", Rounds(self.warm, plan, kept, self._clock, self._observer, chance).run()
        if config.warm.hot:
            ways = self._ways
            policy = config.freshness.policy
            asking = Asking(ways.manifests, cache.records, ways.visibility, ways.governor, policy, self._clock)
            yield "hot tags", KeepHot(self.requests, asking, self._observer).run()

    async def _listed(self) -> Sequence[str]:
        """Return the images of the configuration, and of the file that it names as it is now."""
        file = self._config.warm.file
        return [*self._config.warm.images, *(() if file is None else await asyncio.to_thread(_names_in, file))]


def _names_in(file: Path) -> tuple[str, ...]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ListUnreadable(f"{file} (warm.file) is larger than a list of images can be")
        return image_list(data.decode("utf-8-sig"))
    except OSError as error:
        raise ListUnreadable(f"{file} (warm.file) cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ListUnreadable(f"{file} (warm.file) is not text") from None


def usual_platforms() -> Platforms:
    """Return the platform of this machine, as its containers have it."""
    machine = platform.machine().lower()
    return Platforms.parse([f"linux/{_MACHINES.get(machine, machine)}"])
