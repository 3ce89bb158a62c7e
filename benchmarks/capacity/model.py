"""How many pulls a second a machine answers, and what ends first: network, processors, disk, or what upstream gives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.capacity.simulation import Outcome

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor seconds of a manifest, of a small blob, and of a GiB sent or fetched."""

    manifest: float = 45e-6
    blob: float = 300e-6
    gib: float = 0.10
    fetched_gib: float = 1.5

    @classmethod
    def measured(cls, results: Path) -> Costs:
        """Return what `make bench` wrote, where it has the row; else what is assumed here."""
        rows = json.loads(results.read_text())["rows"] if results.exists() else []
        default = cls()
        return cls(
            _median(rows, "warm-manifest-digest", "CPU µs a request", 1e-6) or default.manifest,
            _median(rows, "warm-small-blobs", "CPU µs a blob", 1e-6) or default.blob,
            _median(rows, "warm-blob-16", "CPU s a GiB", 1.0) or default.gib,
            _median(rows, "cold-fill", "CPU s a GiB", 1.0) or default.fetched_gib,
        )


def _median(rows: list[dict[str, Any]], name: str, measure: str, unit: float) -> float | None:
    rounds = [one for row in rows if row["row"] == name for one in row["rounds"]]
    values = [one["mirror"][measure] for one in rounds if measure in one.get("mirror", {})]
    return median(values) * unit if values else None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has; bytes are a second's. `quota` is how many manifests a second upstream lets it fetch."""

    cores: int = 4
    network: float = 10e9 / 8
    disk: float = 1e9
    from_disk: float = 0.5
    upstream: float = 1e9 / 8
    quota: float = 100 / 3600


@dataclass(frozen=True, slots=True)
class Use:
    """What a request costs on average, of what the machine has; `first` ends first, at so many requests a second."""

    seconds: dict[str, float]

    @property
    def first(self) -> str:
        """What ends first."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    @property
    def most(self) -> float:
        """Requests a second at which it ends."""
        return 1 / self.seconds[self.first]


def use(outcome: Outcome, manifests: int, costs: Costs, machine: Machine) -> Use:
    """Return how many seconds of each thing a request takes on average, of which `manifests` were for one."""
    count = outcome.requests
    processor = manifests * costs.manifest + (count - manifests) * costs.blob
    processor += outcome.bytes / _GIB * costs.gib + outcome.upstream_bytes / _GIB * costs.fetched_gib
    # A byte that is fetched is written once.
    disk = outcome.hit_bytes * machine.from_disk + outcome.upstream_bytes
    return Use(
        {
            "processors": processor / machine.cores / count,
            "network": outcome.bytes / machine.network / count,
            "disk": disk / machine.disk / count,
            "upstream's network": outcome.upstream_bytes / machine.upstream / count,
            "upstream's quota": outcome.pulls / machine.quota / count,
        }
    )
