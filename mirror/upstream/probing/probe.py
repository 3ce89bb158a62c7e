"""Asks one endpoint as serving would, step by step: the registry, its challenge, its token service, a manifest."""

from __future__ import annotations

import asyncio
import ipaddress
import time

import aiohttp
from yarl import URL

from mirror.errors import MirrorError
from mirror.oci.media_types import MANIFEST_TYPES
from mirror.upstream.answers import is_page
from mirror.upstream.auth.authenticator import Authenticator, AuthPolicy, parse_realm
from mirror.upstream.auth.challenge import Challenge, parse_challenges
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.egress import Egress, Outgoing
from mirror.upstream.origin import origin_of
from mirror.upstream.probing.diagnosis import Reason, reason_of
from mirror.upstream.probing.findings import Findings, Sample, State, Step, Witness, certificate_until, clock_ahead
from mirror.upstream.proxy import may_be_proxy
from mirror.upstream.rate_limit import rate_limit

_NETWORK = {
    Reason.NAME: Step.DNS,
    Reason.ADDRESS: Step.CONNECT,
    Reason.REFUSED: Step.CONNECT,
    Reason.NO_ROUTE: Step.CONNECT,
    Reason.NO_CONNECTION: Step.CONNECT,
    Reason.PROXY: Step.CONNECT,
    Reason.UNTRUSTED: Step.TLS,
    Reason.EXPIRED: Step.TLS,
    Reason.WRONG_NAME: Step.TLS,
    Reason.TLS: Step.TLS,
}
"""The step that a reason is about, while nothing has been heard of an endpoint; others are about what it says."""


class _Stop(Exception):
    """The endpoint cannot be asked further."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Probe:
    """One endpoint, and the manifest that it is asked for; None to ask only whether a registry is there."""

    def __init__(
        self,
        base: BaseUrl,
        policy: AuthPolicy,
        sample: Sample | None,
        egress: Egress,
        tokens: TokenServices,
        witness: Witness,
    ) -> None:
        self._policy = policy
        self._base = base
        self._origin = base.origin
        self._egress = egress
        self._witness = witness
        self._authenticator = Authenticator(policy, tokens, witness)
        self._step = Step.DNS
        self._findings = Findings(policy.upstream, base.url, sample)

    async def run(self, seconds: float) -> Findings:
        """Return what was found within so many seconds."""
        findings, started = self._findings, time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._ask()
        except TimeoutError:
            step = Step.CHALLENGE if self._step is Step.DNS else self._step
            findings.failed(step, Reason.TIMEOUT, f"{self._origin} gave no answer within {seconds:g} s")
        except _Stop as stop:
            findings.failed(self._step, stop.reason, stop.detail)
        except MirrorError as error:
            self._failed(error)
        findings.withheld_from = self._witness.withheld_from
        findings.seconds = time.monotonic() - started
        return findings

    async def _ask(self) -> None:
        ping = await self._send("GET", "")
        self._passed(Step.CHALLENGE)
        self._step = Step.CHALLENGE
        self._expect(ping, {200, 401}, Reason.NO_REGISTRY)
        authorization = await self._authorization(ping)
        if self._findings.sample is None and ping.status == 200:
            return
        answer = await self._ask_for(self._findings.sample, authorization)
        if answer.status == 401 and authorization is None:
            # Its content may be guarded where `/v2/` is not.
            self._step = Step.CHALLENGE
            answer = await self._ask_for(self._findings.sample, await self._authorization(answer))
        # Some registries know no HEAD for manifests; serving asks them with GET.
        self._expect(answer, {200, 405}, Reason.NONSENSE)
        self._findings.steps[Step.HEAD] = State.OK

    async def _authorization(self, response: aiohttp.ClientResponse) -> str | None:
        """Return what answers a 401, None where there is none of the endpoint's own; raises _Stop if nothing does."""
        if response.status != 401 or origin_of(response.url) != self._origin:
            return None
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        self._expect_usable(challenges)
        self._findings.steps[Step.CHALLENGE] = State.OK
        self._step = Step.TOKEN
        sample = self._findings.sample
        repository = self._base.named(sample.repository) if sample else None
        answer = await self._authenticator.respond(challenges, repository, refused=None)
        if answer is not None and answer.startswith("Bearer "):
            self._findings.steps[Step.TOKEN] = State.OK
        return answer

    def _expect_usable(self, challenges: list[Challenge]) -> None:
        schemes = {challenge.scheme for challenge in challenges}
        if any(challenge.scheme == "bearer" and parse_realm(challenge.realm) for challenge in challenges):
            return
        if "basic" not in schemes:
            raise _Stop(Reason.NO_CHALLENGE, f"{self._origin} demands authorization and does not say how")
        if self._policy.credentials is None:
            raise _Stop(Reason.CREDENTIALS_NEEDED, f"{self._origin} demands a user name and a password")

    def _expect(self, response: aiohttp.ClientResponse, accepted: set[int], otherwise: Reason) -> None:
        """Return for an accepted answer; raises _Stop with what another one means."""
        status, origin = response.status, origin_of(response.url)
        if status == 200 and is_page(response):
            raise _Stop(otherwise, f"{origin} answered with a page for people")
        if status in accepted:
            return
        meanings = {401: Reason.DENIED, 403: Reason.DENIED, 404: Reason.UNKNOWN, 429: Reason.THROTTLED}
        reason = Reason.BROKEN if status >= 500 else meanings.get(status, otherwise)
        if reason is Reason.DENIED and origin != self._origin:
            # The host that a registry redirects to cannot speak for the registry.
            reason = Reason.BROKEN
        if reason is Reason.UNKNOWN and otherwise is Reason.NO_REGISTRY:
            reason = otherwise
        if reason is Reason.UNKNOWN and self._findings.sample is not None:
            raise _Stop(reason, f"{origin} does not have {self._findings.sample}")
        whose = ", or its proxy did" if status >= 500 and may_be_proxy(self._policy.proxy, response.url) else ""
        raise _Stop(reason, f"{origin} answered {status}{whose}")

    async def _ask_for(self, sample: Sample | None, authorization: str | None) -> aiohttp.ClientResponse:
        """Ask for the manifest, or once more whether a registry is there."""
        self._step = Step.HEAD
        if sample is None:
            return await self._send("GET", "", authorization=authorization)
        path = f"{self._base.named(sample.repository)}/manifests/{sample.reference}"
        return await self._send("HEAD", path, ", ".join(MANIFEST_TYPES), authorization)

    async def _send(
        self, method: str, path: str, accept: str = "", authorization: str | None = None
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept} if accept else {}
        policy, url = self._policy, self._base.target(path)
        outgoing = Outgoing(
            method, url, policy.private_network, headers, authorization, proxy=policy.proxy, trust=policy.trust
        )
        response = await self._egress.open(outgoing)
        response.release()
        self._look_at(response)
        return response

    def _passed(self, before: Step) -> None:
        """Note that all that has to be done to reach an endpoint, before this step, went well."""
        resolved = not _is_address(self._origin) and self._policy.proxy is None
        needed = {Step.DNS: resolved, Step.CONNECT: True, Step.TLS: self._origin.scheme == "https"}
        steps = list(Step)
        for step in steps[: steps.index(before)]:
            if needed.get(step):
                self._findings.steps[step] = State.OK

    def _failed(self, error: MirrorError) -> None:
        reason, step = reason_of(error), self._step
        if step is Step.DNS:
            step = _NETWORK.get(reason, Step.CHALLENGE)
            self._passed(step)
        self._findings.failed(step, reason, self._witness.unreadable or str(error))

    def _look_at(self, response: aiohttp.ClientResponse) -> None:
        findings = self._findings
        if origin_of(response.url) == self._origin:
            findings.certificate_until = certificate_until(response) or findings.certificate_until
            findings.clock_ahead = clock_ahead(response.headers, time.time())
            findings.rate_limit = rate_limit(response.headers) or findings.rate_limit


def _is_address(origin: URL) -> bool:
    try:
        ipaddress.ip_address(origin.host or "")
    except ValueError:
        return False
    return True
