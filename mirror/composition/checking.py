"""Trying upstreams as serving would ask them, without serving anybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mirror import __version__
from mirror.composition import registries
from mirror.config import Config, CredentialsConfig, EndpointConfig, UpstreamConfig
from mirror.proxy.events.observer import Event
from mirror.proxy.tasks import Tasks
from mirror.store.identity import new_identity
from mirror.store.memory import BoundedMemory
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.egress import Egress
from mirror.upstream.health.health import Health
from mirror.upstream.probing.diagnosis import Reason
from mirror.upstream.probing.findings import Findings, Sample, Step, WitnessedResponse

AT_A_TIME = 8
"""Endpoints that are tried at once."""

_NO = frozenset({Reason.DENIED, Reason.CREDENTIALS_NEEDED, Reason.NO_CHALLENGE, Reason.UNKNOWN})
# A registry's ways to tell somebody without credentials that there is nothing for them.


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint of an upstream, and what it is asked for; None to ask only whether a registry is there."""

    upstream: str
    endpoint: EndpointConfig
    sample: Sample | None


class _Nobody:
    """Takes no interest."""

    def notify(self, event: Event) -> None:
        """Let it pass."""


async def check(config: Config, targets: Sequence[Target], seconds: float) -> list[Findings]:
    """Return what was found at each target with each account there is, in their order; each has so many seconds."""
    own_name, memory, nobody = new_identity(), BoundedMemory(), _Nobody()
    egress = Egress(f"mirror/{__version__}", lambda: own_name, WitnessedResponse)
    tasks = Tasks(nobody)
    budgets, health = registries.budgets(config.upstreams, time.time, nobody), Health(nobody)
    tokens = TokenServices(egress, memory, tasks, nobody)
    outside = registries.Outside(egress, tokens, tasks, nobody, budgets, health)
    turns = asyncio.Semaphore(AT_A_TIME)

    async def asked(target: Target, given: CredentialsConfig | None, within: float) -> Findings:
        upstream, name = config.upstreams[target.upstream], target.upstream
        return await registries.probe(name, upstream, target.endpoint, target.sample, given, outside).run(within)

    async def tried(target: Target, account: int, given: CredentialsConfig | None) -> Findings:
        async with turns:
            found = await asked(target, given, seconds)
            found.account = account
            if (
                given is not None
                and _is_guarded(config.upstreams[target.upstream])
                and target.sample is not None
                and found.fault is None
            ):
                _see_as_anybody(found, await asked(target, None, seconds - found.seconds))
            return found

    await egress.start()
    try:
        return list(
            await asyncio.gather(
                *(
                    tried(target, account, given)
                    for target in targets
                    for account, given in enumerate(_accounts(config, target) or (None,))
                )
            )
        )
    finally:
        await tasks.cancel()
        await egress.close()
        await memory.close()


def _accounts(config: Config, target: Target) -> Sequence[CredentialsConfig]:
    return config.upstreams[target.upstream].accounts_at(target.endpoint.url)


def _is_guarded(upstream: UpstreamConfig) -> bool:
    """Tell whether serving asks without credentials first, to see what anybody may read."""
    return upstream.credentials is not None and upstream.serve_private == "nobody"


def _see_as_anybody(found: Findings, anybody: Findings) -> None:
    """Note what keeps from clients what the credentials can read."""
    fault = anybody.fault
    if fault is not None and fault.reason in _NO:
        what = f"{found.endpoint.origin()} has {found.sample} for the credentials, and not for everybody"
        found.failed(Step.HEAD, Reason.NOT_PUBLIC, what)
    elif fault is not None:
        found.failed(fault.step, fault.reason, f"without credentials, as clients are seen: {fault.detail}")
