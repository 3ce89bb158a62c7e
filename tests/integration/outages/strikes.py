"""What happens to a place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.integration.outages.place import REPOSITORY, TAG, Place
from tests.integration.tls import server_context

RETRY_AFTER = 30


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and what a place needs to suffer it."""

    strike: Callable[[Place], Awaitable[None]]
    is_named: bool = False
    has_tls: bool = False
    is_slow: bool = False


async def nothing(place: Place) -> None:
    """All is well."""


async def down(place: Place) -> None:
    """Connections are refused."""
    await place.registry.stop()


async def unavailable(place: Place) -> None:
    """Every answer is a 503."""
    place.registry.always("*", faults.status(503))


async def throttled(place: Place) -> None:
    """Every answer is a 429."""
    place.registry.always("*", faults.status(429, RETRY_AFTER))


async def hanging(place: Place) -> None:
    """Requests are taken, and never answered."""
    place.registry.hang()


async def without_tokens(place: Place) -> None:
    """The tokens there were are over, and their service refuses connections."""
    place.registry.revoke_tokens()
    await place.tokens.stop()


async def waiting_for_tokens(place: Place) -> None:
    """The tokens there were are over, and their service says nothing."""
    place.registry.revoke_tokens()
    place.tokens.hang()


async def without_name(place: Place) -> None:
    """The name of the registry does not resolve any more."""
    place.names.gone.add(place.host)
    await place.cut()


async def untrusted(place: Place) -> None:
    """The certificate of the registry has ended."""
    await place.registry.stop()
    other = place.folder / "expired"
    other.mkdir()
    place.registry._tls = server_context(other, lasts=-timedelta(hours=1))
    await place.registry.start()


async def moved(place: Place) -> None:
    """The tag is another image by now."""
    for registry in (place.registry, place.spare):
        registry.move_tag(REPOSITORY, TAG, content.image(layers=1, seed=f"{place.name} moved"))


async def deleted(place: Place) -> None:
    """The tag is no more."""
    place.registry.remove_tag(REPOSITORY, TAG)


async def used_up(place: Place) -> None:
    """No pull is left: a HEAD says so, and a GET is refused."""

    def told(answer: Answer) -> Answer:
        return answer.with_header("ratelimit-limit", "100;w=21600").with_header("ratelimit-remaining", "0;w=21600")

    place.registry.always("*/manifests/*", told, method="HEAD")
    place.registry.always("*/manifests/*", faults.both(faults.status(429, RETRY_AFTER), told), method="GET")


async def used_up_and_moved(place: Place) -> None:
    """No pull is left, and the tag is another image by now."""
    await used_up(place)
    await moved(place)


STRIKES = {
    "none": Strike(nothing),
    "down": Strike(down),
    "503": Strike(unavailable),
    "429": Strike(throttled),
    "hang": Strike(hanging, is_slow=True),
    "token service down": Strike(without_tokens),
    "token service hangs": Strike(waiting_for_tokens, is_slow=True),
    "DNS failure": Strike(without_name, is_named=True),
    "TLS error": Strike(untrusted, has_tls=True),
    "tag moved": Strike(moved),
    "tag deleted": Strike(deleted),
    "limit reached": Strike(used_up),
    "limit reached, moved": Strike(used_up_and_moved),
}
