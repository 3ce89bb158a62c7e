"""Asking the running mirror, and printing what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from mirror.cli.images.server import AdminServer, Refused, Unanswered, server_of
from mirror.cli.report import harmless
from mirror.config import Config


def run(
    config: Config, url: str | None, ask: Callable[[AdminServer], Any], rendered: Callable[[Any], list[str]] | None
) -> int:
    """Print what `ask` is told, as JSON without `rendered`, and return the exit code; raises ConfigError."""
    try:
        server = server_of(config, url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from None
    try:
        document = ask(server)
    except (Refused, Unanswered) as error:
        print(f"mirror: {harmless(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mirror: interrupted; what was asked for may be done all the same", file=sys.stderr)
        return 130
    if rendered is None:
        print(json.dumps(document, indent=2))
        return 0
    try:
        lines = rendered(document)
    except (KeyError, TypeError, ValueError, AttributeError):
        print("mirror: the answer is of another version of the mirror", file=sys.stderr)
        return 1
    print("\n".join(map(harmless, lines)))
    return 0
