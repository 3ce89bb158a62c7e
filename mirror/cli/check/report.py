"""The report of a check, for people and for machines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mirror.cli.check.advice import advice
from mirror.cli.report import counted
from mirror.config import Config
from mirror.proxy.rate_limit import RateLimit
from mirror.upstream.probing.findings import Findings, Step

SOON = timedelta(days=14)
"""How long before its end a certificate is spoken of."""

CLOCK_SECONDS = 60.0
"""A difference between clocks that is spoken of; many tokens live no longer."""

_HEADINGS = ("UPSTREAM", "ENDPOINT", *(step.upper() for step in Step), "TIME", "VIA", "AS", "LIMIT", "IMAGE")


def document(config: Config, findings: Sequence[Findings]) -> dict[str, Any]:
    """Return the report as JSON has it."""
    entries = [_entry(config, found) for found in findings]
    is_ok = all(found.fault is None for found in findings)
    return {"ok": is_ok, "offline": config.offline, "endpoints": entries}


def lines(config: Config, findings: Sequence[Findings], now: datetime) -> list[str]:
    """Return the report as a terminal shows it: a table, a line for whatever is to be known, and one for all."""
    rows = [_HEADINGS, *(_row(config, found) for found in findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    told = [line for found in findings for line in (*explained(config, found), *_notes(config, found, now))]
    if config.offline:
        told.append("offline: true: this check has asked them all the same; serving asks nobody")
    failed = sum(found.fault is not None for found in findings)
    verdict = f"{failed} failed" if failed else "all good"
    return [*table, "", *told, *([""] if told else []), f"{_tried(findings)}: {verdict}"]


def _tried(findings: Sequence[Findings]) -> str:
    times = Counter((found.upstream, found.endpoint, found.sample) for found in findings)
    endpoints = counted(len(times), "endpoint")
    accounts = sum(count for count in times.values() if count > 1)
    return f"{endpoints} with {counted(accounts, 'account')}" if accounts else endpoints


def credentials(config: Config, found: Findings) -> str | None:
    """Return whose credentials an endpoint was asked with, never the secret; None for nobody's."""
    accounts = config.upstreams[found.upstream].accounts_at(found.endpoint)
    if not accounts:
        return None
    given = accounts[found.account]
    return given.username or (f"helper {given.helper}" if given.helper else "docker_config")


def proxy(config: Config, upstream: str) -> str | None:
    """Return the proxy that an upstream is reached through, without what it wants to be told; None for none."""
    given = config.upstreams[upstream].proxy
    return str(given.url) if given else None


def is_verified(config: Config, found: Findings) -> bool:
    """Tell whether an endpoint has to be who it says."""
    endpoints = config.upstreams[found.upstream].endpoints
    return all(endpoint.verify for endpoint in endpoints if endpoint.url == found.endpoint)


def _row(config: Config, found: Findings) -> tuple[str, ...]:
    asked_as = credentials(config, found) or "anonymous"
    if found.withheld_from is not None:
        asked_as += " (withheld)"
    took, via, sample = f"{found.seconds:.2f} s", proxy(config, found.upstream) or "direct", str(found.sample or "-")
    rate = found.rate_limit
    limit = "-" if rate is None else f"{rate.remaining}/{rate.limit}"
    return (found.upstream, str(found.endpoint), *found.steps.values(), took, via, asked_as, limit, sample)


def explained(config: Config, found: Findings) -> Iterator[str]:
    """Yield what went wrong, whose fault it is and what to do, if anything did."""
    if found.fault is not None:
        yield advice(found, found.fault, has_credentials=credentials(config, found) is not None)


def _notes(config: Config, found: Findings, now: datetime) -> Iterator[str]:
    here = f"{found.upstream}: {found.endpoint}"
    if found.withheld_from is not None and found.fault is None:
        realms = f"upstreams.{found.upstream}.realms"
        yield f"{here}: {found.withheld_from} did not see the credentials, unless it is named in {realms}"
    upstream = config.upstreams[found.upstream]
    if upstream.accounts and credentials(config, found) is None:
        yield (
            f"{here} is asked without the credentials, which are for {upstream.endpoints[-1].url}; a docker_config has"
            f" them by host, or upstreams.{found.upstream}.realms names it"
        )
    if not is_verified(config, found):
        yield f"{here}: its certificate may be anybody's; give it a ca_file instead of verify: false"
    if found.certificate_until is not None and found.certificate_until - now < SOON:
        yield f"{here}: its certificate ends on {found.certificate_until:%Y-%m-%d}; its owner has to renew it"
    if found.clock_ahead is not None and abs(found.clock_ahead) > CLOCK_SECONDS:
        side = "behind" if found.clock_ahead > 0 else "ahead of"
        yield f"{here}: its clock is {abs(found.clock_ahead):.0f} s {side} this machine's; tokens and TLS need the time"
    rate = found.rate_limit
    if rate is not None and rate.remaining <= upstream.pull_reserve.of(rate.limit):
        reserve = f"upstreams.{found.upstream}.pull_reserve"
        yield f"{here}: {_rate(rate)}, which are for what is not cached ({reserve})"


def _rate(rate: RateLimit) -> str:
    window = f" in {rate.window} s" if rate.window is not None else ""
    return f"its rate limit leaves {rate.remaining} of {rate.limit} pulls{window}"


def _entry(config: Config, found: Findings) -> dict[str, Any]:
    return {
        "upstream": found.upstream,
        "endpoint": str(found.endpoint),
        "image": str(found.sample) if found.sample else None,
        "steps": {str(step): str(state) for step, state in found.steps.items()},
        "seconds": round(found.seconds, 3),
        "proxy": proxy(config, found.upstream),
        "credentials": credentials(config, found),
        "withheld_from": found.withheld_from,
        "verified": is_verified(config, found),
        "failure": _failure(config, found),
        "certificate_until": found.certificate_until.isoformat() if found.certificate_until else None,
        "clock_ahead_seconds": None if found.clock_ahead is None else round(found.clock_ahead),
        "rate_limit": None if found.rate_limit is None else _limit(found.rate_limit),
    }


def _failure(config: Config, found: Findings) -> Mapping[str, str] | None:
    if found.fault is None:
        return None
    [message] = explained(config, found)
    return {"step": str(found.fault.step), "reason": str(found.fault.reason), "message": message}


def _limit(rate: RateLimit) -> Mapping[str, int | None]:
    return {"limit": rate.limit, "remaining": rate.remaining, "window_seconds": rate.window}
