"""wrk, one thread of it: requests for one path over and over, on connections that stay open."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients.connection import UnexpectedAnswer
from tests.fakes.content import OCI_MANIFEST

_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests were answered in how many seconds, and what 99 in 100 took at most, in seconds."""

    requests: int
    seconds: float
    p99: float


def load(url: str, connections: int, seconds: float, prefix: list[str]) -> Rate:
    """Ask as fast as answers come; `prefix` starts the command. Raises UnexpectedAnswer unless each was a success."""
    # It takes whole seconds only.
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(_SCRIPT)]
    done = subprocess.run(
        [*prefix, *wrk, "-H", f"Accept: {OCI_MANIFEST}", url], check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    if told.pop("failed"):
        raise UnexpectedAnswer(f"{url}: not every request was a success:\n{done.stdout}")
    return Rate(**told)
