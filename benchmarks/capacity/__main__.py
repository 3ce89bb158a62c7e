"""`python -m benchmarks.capacity`: which order of eviction keeps what, and what one machine serves, or ten."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.capacity.model import Costs, Machine, use
from benchmarks.capacity.orders import ORDERS, Mirror
from benchmarks.capacity.simulation import Outcome, by_client, by_repository, one_machine, several_machines
from benchmarks.capacity.trace import Request, trace, working_set

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MACHINES = 10
_PAID = 1e9
# Pulls a second of who has no limit.


def shape(requests: Sequence[Request]) -> list[str]:
    """Return lines that say what the requests look like."""
    layers = [request.part for request in requests if not request.part.is_manifest]
    small = sum(layer.size < 1_000_000 for layer in layers) / len(layers)
    different = len({request.part.number for request in requests})
    return [
        f"{len(requests):,} requests for {different:,} parts of {working_set(requests) / 1e9:.1f} GB together;"
        f" {1 - len(layers) / len(requests):.0%} for manifests; {small:.0%} of the layers below 1 MB,"
        f" the largest {max(layer.size for layer in layers) / 1e9:.2f} GB"
    ]


def eviction(requests: Sequence[Request], shares: Sequence[float] = SHARES) -> list[str]:
    """Return the table of orders and sizes of a cache: hits of requests, hits of bytes, pulls from upstream."""
    whole = working_set(requests)
    lines = [f"| cache, of all bytes | {' | '.join(ORDERS)} |", "|---" * (len(ORDERS) + 1) + "|"]
    for share in shares:
        found = [one_machine(requests, int(whole * share), make(requests)) for make in ORDERS.values()]
        cells = [f"{one.hit_ratio:.1%}, {one.byte_hit_ratio:.1%}, {one.pulls:,}" for one in found]
        lines.append(f"| {share:.0%} | {' | '.join(cells)} |")
    return lines


def capacity(requests: Sequence[Request], share: float, costs: Costs, machine: Machine) -> list[str]:
    """Return the table of one machine and ten: what they hit, fetch and can serve, and what ends first."""
    size, manifests = int(working_set(requests) * share), sum(request.part.is_manifest for request in requests)
    alone = one_machine(requests, size, Mirror())
    split = several_machines(requests, [size] * _MACHINES, Mirror, by_client)
    hashed = several_machines(requests, [size] * _MACHINES, Mirror, by_repository)
    lines = [
        "| machines | hits, of bytes | upstream GB | upstream pulls | requests/s | GB/s | ends first | no quota |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, outcome, machines in (
        ("1", alone, 1),
        ("10, each for its clients", split, 10),
        ("10, hashed", hashed, 10),
    ):
        lines.append(f"| {name} | {_row(outcome, manifests, machines, costs, machine)} |")
    return lines


def _row(outcome: Outcome, manifests: int, machines: int, costs: Costs, machine: Machine) -> str:
    # All share what upstream gives: one line, one account.
    each = replace(machine, upstream=machine.upstream / machines, quota=machine.quota / machines)
    limited = use(outcome, manifests, costs, each)
    free = use(outcome, manifests, costs, replace(each, quota=_PAID))
    rate, size = limited.most * machines, outcome.bytes / outcome.requests
    return (
        f"{outcome.hit_ratio:.1%}, {outcome.byte_hit_ratio:.1%}"
        f" | {outcome.upstream_bytes / 1e9:.1f} | {outcome.pulls:,}"
        f" | {rate:,.1f} | {rate * size / 1e9:.3f} | {limited.first}"
        f" | {free.most * machines:,.0f}/s, {free.most * machines * size / 1e9:.2f} GB/s, {free.first}"
    )


def main() -> None:
    """Read the command line, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.1, help="of all bytes, that each machine's cache holds")
    parser.add_argument("--results", type=Path, default=Path(".bench/results.json"), help="what `make bench` wrote")
    parser.add_argument("--cores", type=int, default=Machine().cores)
    options = parser.parse_args()
    requests, costs = trace(options.seed, options.requests), Costs.measured(options.results)
    print(*shape(requests), "", *eviction(requests), "", sep="\n")
    print(
        f"A manifest {costs.manifest * 1e6:.0f} µs, a blob {costs.blob * 1e6:.0f} µs, a GiB {costs.gib:.2f} s,"
        f" fetched {costs.fetched_gib:.2f} s\n"
    )
    print(*capacity(requests, options.share, costs, Machine(cores=options.cores)), sep="\n")


if __name__ == "__main__":
    main()
