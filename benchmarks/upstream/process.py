"""The upstream as a process of its own, so that it takes nothing from who measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.program import Program
from benchmarks.upstream.pace import Pace
from benchmarks.upstream.server import STATISTICS
from tests.e2e.http_client import ask
from tests.e2e.process import answers, free_port


class Upstream(Program):
    """Serves `content` at a pace; `folder` takes its log."""

    def __init__(self, content: Path, folder: Path, pace: Pace) -> None:
        port = free_port()
        self.content = content
        self.url = f"http://127.0.0.1:{port}"
        rate = [] if pace.rate is None else ["--rate", str(pace.rate)]
        options = ["--port", str(port), "--latency", str(pace.latency), *rate]
        super().__init__(
            [sys.executable, "-m", "benchmarks.upstream", str(content), *options],
            folder / f"upstream-{port}.log",
            lambda: answers(f"{self.url}{STATISTICS}"),
        )

    def sent(self) -> int:
        """Bytes of manifests and blobs that have been sent so far."""
        return int(json.loads(ask("GET", f"{self.url}{STATISTICS}").body)["bytes"])
