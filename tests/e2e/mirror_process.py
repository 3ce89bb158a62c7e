"""The mirror under test, as its own process with its own configuration file."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import yaml

from .http_client import Answer, ask
from .journal import Request
from .process import Service, free_port


class MirrorProcess(Service):
    """`mirror serve` on two free ports, its cache and its JSON log in `directory`."""

    def __init__(self, config: Mapping[str, object], directory: Path) -> None:
        directory.mkdir()
        self.port, self.admin_port = free_port(), free_port()
        self.directory = directory
        self.cache = directory / "cache"
        file = directory / "config.yaml"
        file.write_text(yaml.safe_dump({**self._defaults(), **config}, sort_keys=False))
        super().__init__(
            [sys.executable, "-m", "mirror", "serve", "--config", file], directory / "log", self._is_healthy
        )

    @property
    def url(self) -> str:
        """What clients are configured with."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request to the public listener."""
        return ask(method, f"{self.url}{path}", headers=headers)

    def cache_status(self, path: str) -> str:
        """What the mirror's cache did for a manifest, in the mirror's own words."""
        answer = self.ask("HEAD", path, {"Accept": "*/*"})
        assert answer.status == 200, answer
        return str(answer.headers["Cache-Status"])

    def restart(self) -> None:
        """Stops cleanly and starts again on the same ports and cache."""
        assert self.stop() == 0, self.log_text()
        self.start()

    def log_lines(self) -> list[dict[str, object]]:
        """The log so far, a line a record."""
        lines = self.settled_log().splitlines()
        return [cast(dict[str, object], json.loads(line)) for line in lines if line.startswith("{")]

    def journal(self) -> list[Request]:
        """Every request of the distribution API answered so far, in order."""
        lines = [line for line in self.log_lines() if str(line.get("path")).startswith("/v2/")]
        return [Request(str(line["method"]), str(line["path"]), int(str(line["status"]))) for line in lines]

    def metrics(self) -> str:
        """What Prometheus would scrape."""
        answer = ask("GET", f"http://127.0.0.1:{self.admin_port}/metrics")
        assert answer.status == 200, answer
        return answer.body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        lines = [line for line in self.metrics().splitlines() if re.match(rf"{name}[ {{]", line)]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(pair in line for pair in wanted))

    def rss(self) -> int:
        """Bytes of memory the process holds."""
        return self._memory("VmRSS")

    def peak_rss(self) -> int:
        """The most bytes of memory the process has held."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    def _is_healthy(self) -> bool:
        try:
            return ask("GET", f"{self.url}/healthz", timeout=2).status == 200
        except OSError:
            return False

    def _defaults(self) -> dict[str, object]:
        return {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "cache": {"path": str(self.cache)},
            "log": {"format": "json"},
        }


StartMirror = Callable[[Mapping[str, object]], MirrorProcess]
