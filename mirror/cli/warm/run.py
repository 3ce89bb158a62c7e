"""`mirror warm`: asks the running mirror, shows how far it is, and tells how it went as lines and as an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from mirror.cli.images.server import AdminServer, Refused, Unanswered, server_of
from mirror.cli.report import counted, harmless
from mirror.cli.warm.bars import Bars
from mirror.cli.warm.told import line, summary
from mirror.config import Config


@dataclass(frozen=True, slots=True)
class Names:
    """Images by their names, why others are none, and what was left out of files."""

    images: Sequence[str]
    unnamed: Sequence[Any]
    skipped: Sequence[str]


def run(config: Config, url: str | None, names: Names, platforms: Sequence[str], *, as_json: bool) -> int:
    """Warm images, tell how it went, and return the exit code; raises ConfigError."""
    try:
        server = server_of(config, url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from None
    done: list[Any] = []
    bars = Bars(sys.stderr)
    try:
        _warm(server, names, platforms, done, bars, as_json=as_json)
    except (Refused, Unanswered) as error:
        bars.clear()
        print(f"mirror: {harmless(str(error))}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError, AttributeError):
        bars.clear()
        print("mirror: the answer is of another version of the mirror", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        bars.clear()
        left = counted(len(names.images) + len(names.unnamed) - len(done), "image")
        print(f"mirror: interrupted; {left} not done, what is on its way is fetched all the same", file=sys.stderr)
        return 130
    if as_json:
        print(json.dumps({"images": done, "skipped": list(names.skipped)}, indent=2))
    else:
        print(summary(done))
    return int(any(image["error"] is not None for image in done))


def listed(names: Names, *, as_json: bool) -> int:
    """Print what would be warmed, and return the exit code."""
    if as_json:
        print(json.dumps({"images": list(names.images), "skipped": list(names.skipped)}, indent=2))
    else:
        print("".join(f"{harmless(image)}\n" for image in names.images), end="")
    for image in names.unnamed:
        print(f"mirror: {harmless(line(image))}", file=sys.stderr)
    return int(bool(names.unnamed))


def _warm(
    server: AdminServer, names: Names, platforms: Sequence[str], done: list[Any], bars: Bars, *, as_json: bool
) -> None:
    def tell(image: Any) -> None:
        text = line(image)
        done.append(image)
        if not as_json:
            bars.clear()
            print(harmless(text), flush=True)

    for image in names.unnamed:
        tell(image)
    if not names.images:
        return
    with closing(server.warm(names.images, platforms)) as events:
        for event in events:
            if event["event"] == "progress":
                bars.show(event["images"])
            elif event["event"] == "image":
                tell(event)
    bars.clear()
