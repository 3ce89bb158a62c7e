"""What a probe of an endpoint has found: how far it came, why not farther, and what else is worth knowing."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
from yarl import URL

from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.proxy.events.access import CredentialsUnreadable, CredentialsWithheld
from mirror.proxy.events.observer import Event
from mirror.proxy.rate_limit import RateLimit
from mirror.upstream.probing.diagnosis import Reason


class Step(StrEnum):
    """What is tried, in this order."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    CHALLENGE = "challenge"
    TOKEN = "token"  # noqa: S105  # a step, not a secret
    HEAD = "head"


class State(StrEnum):
    """How a step went; `-` where it was not needed, or not reached."""

    OK = "ok"
    FAILED = "failed"
    NOT_TRIED = "-"


@dataclass(frozen=True, slots=True)
class Sample:
    """A manifest that an endpoint is asked for."""

    repository: Repository
    reference: Reference

    def __str__(self) -> str:
        return f"{self.repository}{'@' if isinstance(self.reference, Digest) else ':'}{self.reference}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Where it stopped and why; `detail` is one line that names an origin at most."""

    step: Step
    reason: Reason
    detail: str


@dataclass(slots=True)
class Findings:
    """One endpoint, and one account there (counted from 0); filled in as the probe goes.

    `clock_ahead` is how many seconds this machine's clock is before the registry's; `withheld_from` is the token
    service that was asked without the credentials, since they are not bound to it.
    """

    upstream: str
    endpoint: URL
    sample: Sample | None
    account: int = 0
    steps: dict[Step, State] = field(default_factory=lambda: dict.fromkeys(Step, State.NOT_TRIED))
    fault: Fault | None = None
    seconds: float = 0.0
    withheld_from: str | None = None
    certificate_until: datetime | None = None
    clock_ahead: float | None = None
    rate_limit: RateLimit | None = None

    def failed(self, step: Step, reason: Reason, detail: str) -> None:
        """Note where it stopped."""
        self.steps[step] = State.FAILED
        self.fault = Fault(step, reason, detail)


class Witness:
    """Sees what is reported of one endpoint's authorization."""

    def __init__(self) -> None:
        self.withheld_from: str | None = None
        self.unreadable: str | None = None

    def notify(self, event: Event) -> None:
        """Note who did not see the credentials, and why there are none."""
        if isinstance(event, CredentialsWithheld):
            self.withheld_from = event.realm
        elif isinstance(event, CredentialsUnreadable):
            self.unreadable = event.reason


class WitnessedResponse(aiohttp.ClientResponse):
    """A response that keeps what was seen of its server's certificate, after its connection has gone."""

    certificate: Mapping[str, Any] | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Begin to read, with a look at the connection."""
        transport = connection.transport
        self.certificate = transport.get_extra_info("peercert") if transport is not None else None
        return await super().start(connection)


def certificate_until(response: aiohttp.ClientResponse) -> datetime | None:
    """Return when the certificate of a witnessed response ends, None without one."""
    certificate = getattr(response, "certificate", None)
    if not certificate or "notAfter" not in certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def clock_ahead(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds `now` is before the Date header, negative if behind; None without a readable one."""
    try:
        return now - parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
