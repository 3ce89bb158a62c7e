"""Prometheus, scraping one mirror once a second, and asked as Grafana asks it."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.e2e.http_client import ask
from tests.e2e.process import Service, free_port

INTERVAL = 1.0  # seconds between scrapes
WINDOW = "5s"  # what rates are taken over; Grafana would take four scrapes or more
CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: mirror, static_configs: [{{targets: ["{target}"]}}]}}]
"""

Series = dict[str, list[float]]


class Prometheus(Service):
    """Keeps its data in `directory`; knows one target."""

    def __init__(self, directory: Path, target: str) -> None:
        directory.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        configuration = directory / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(target=target))
        self.started = time.time()
        super().__init__(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            directory / "log",
            self._answers_ready,
        )

    def label_values(self, selector: str, label: str) -> list[str]:
        """The values a label has among the series that a selector finds."""
        found: list[str] = self._get(f"label/{label}/values", {"match[]": selector})
        return found

    def now(self, expression: str) -> list[float]:
        """The values that an expression has at this moment."""
        return [float(one["value"][1]) for one in self._get("query", {"query": expression})["result"]]

    def since_start(self, expression: str) -> Series:
        """The values that an expression has had, by the labels of each series; NaN where there was none."""
        moments = {"start": f"{self.started}", "end": f"{time.time()}", "step": f"{INTERVAL}"}
        found = self._get("query_range", {"query": expression, **moments})["result"]
        return {
            json.dumps(one["metric"], sort_keys=True): [float(value) for _, value in one["values"]] for one in found
        }

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        answer = ask("GET", f"{self.url}/api/v1/{path}?{urlencode(parameters)}")
        document = json.loads(answer.body)
        assert document["status"] == "success", document
        return document["data"]

    def _answers_ready(self) -> bool:
        try:
            return ask("GET", f"{self.url}/-/ready", timeout=2).status == 200
        except OSError:
            return False
