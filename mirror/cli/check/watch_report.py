"""The report of a check that goes on, for people: a table that is drawn anew, or a line for each change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mirror.cli.check.report import credentials, explained
from mirror.cli.check.tracks import Change, Track, Tracks
from mirror.cli.images.tables import table
from mirror.cli.images.times import span
from mirror.cli.report import counted
from mirror.config import Config

_HEADINGS = ("UPSTREAM", "ENDPOINT", "STATE", "FOR", "SINCE", "NOW", "USUALLY", "WELL", "AS")


def screen(config: Config, tracks: Tracks, now: datetime, every: float) -> list[str]:
    """Return all there is to be known: a table, a line for each endpoint that fails, and one for all."""
    in_use = tracks.in_use
    rows = [_HEADINGS, *(_row(config, track, in_use, now) for track in tracks.all)]
    told = [line for track in tracks.all for line in explained(config, track.found)]
    failed = sum(not track.is_usable for track in tracks.all)
    verdict = f"{failed} failed" if failed else "all good"
    last = f"{now.astimezone():%H:%M:%S}  {counted(len(tracks.all), 'endpoint')}: {verdict}; tried every {every:g} s"
    return [*table(rows), "", *told, *([""] if told else []), last]


def line(config: Config, change: Change, now: datetime) -> str:
    """Return one change in a line of its own, with its time."""
    found, lasted = change.track.found, span(change.lasted)
    here = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {found.upstream} {found.endpoint}"
    if len(config.upstreams[found.upstream].accounts) > 1:
        here += f" as {credentials(config, found) or 'anonymous'}"
    if found.fault is not None:
        [why] = explained(config, found)
        before = f", usable for {lasted} before" if change.before else ""
        return f"{here}: {found.fault.step} failed{before}: {why.removeprefix(f'{found.upstream}: ')}"
    before = f" again, after {lasted}" if change.before is False else ""
    return f"{here}: usable{before}; took {found.seconds:.2f} s"


def _row(config: Config, track: Track, in_use: set[tuple[str, str]], now: datetime) -> Sequence[str]:
    found = track.found
    return (
        found.upstream,
        str(found.endpoint),
        _state(track, in_use),
        span((now - track.since).total_seconds()),
        f"{track.since.astimezone():%H:%M:%S}",
        f"{found.seconds:.2f} s" if track.is_usable else "-",
        "-" if track.usual is None else f"{track.usual:.2f} s",
        f"{track.rounds - track.failures} of {track.rounds}",
        credentials(config, found) or "anonymous",
    )


def _state(track: Track, in_use: set[tuple[str, str]]) -> str:
    if track.found.fault is not None:
        return f"{track.found.fault.step} failed"
    return "in use" if (track.found.upstream, str(track.found.endpoint)) in in_use else "usable"
