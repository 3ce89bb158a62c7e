"""The simulation of eviction, and the model of a machine's capacity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.capacity.__main__ import capacity, eviction, shape
from benchmarks.capacity.model import Costs, Machine, use
from benchmarks.capacity.orders import ORDERS, Belady, Lru, Mirror, Order, Sieve
from benchmarks.capacity.simulation import Outcome, by_repository, one_machine, several_machines
from benchmarks.capacity.trace import MANIFEST, Image, Part, Request, trace, working_set

REQUESTS = trace(1, 4000, images=150, clients=40)


def test_the_same_seed_gives_the_same_requests() -> None:
    assert trace(1, 4000, images=150, clients=40) == REQUESTS
    assert trace(2, 4000, images=150, clients=40) != REQUESTS


def test_most_layers_are_small_and_a_few_are_most_of_the_bytes() -> None:
    sizes = sorted({request.part.number: request.part.size for request in trace(3, 30_000)}.values())
    layers = [size for size in sizes if size != MANIFEST]
    assert 0.6 < sum(size < 1_000_000 for size in layers) / len(layers) < 0.7
    assert sum(layers[-len(layers) // 10 :]) > 0.7 * sum(layers)


def part(number: int, *, is_manifest: bool = False) -> Part:
    return Part(number, 10, is_manifest)


def asked(order: Order, numbers: str, size: int = 30) -> tuple[int, int]:
    """Return hits and requests of parts of ten bytes, each of which is an image of its own."""
    image = Image(0, part(99, is_manifest=True), ())
    outcome = one_machine([Request(0, image, part(int(number))) for number in numbers], size, order)
    return outcome.hits, outcome.requests


def test_orders_forget_what_they_say() -> None:
    assert asked(Lru(), "1231412") == (2, 7)
    assert asked(Sieve(), "1231415") == (2, 7)
    requests = [Request(0, Image(0, part(99), ()), part(int(number))) for number in "12341234"]
    assert one_machine(requests, 30, Belady(requests)).hits == 3
    assert one_machine(requests, 30, Lru()).hits == 0


def test_a_manifest_that_is_used_renews_what_its_image_holds() -> None:
    image = Image(0, Part(1, 1, is_manifest=True), (part(2), part(3)))
    other = Image(1, Part(9, 1, is_manifest=True), (part(4), part(5)))
    first = [Request(0, image, one) for one in (image.manifest, *image.layers)]
    requests = [
        *first, Request(0, other, part(4)), Request(0, image, image.manifest), Request(0, other, part(5)), *first
    ]  # fmt: skip
    assert one_machine(requests, 35, Mirror()).hits == 4
    assert one_machine(requests, 35, Lru()).hits == 2


def test_where_all_are_as_large_nobody_beats_who_knows_the_future() -> None:
    even = [replace(request, part=replace(request.part, size=10)) for request in REQUESTS]
    for share in (0.02, 0.1, 0.5):
        size = int(working_set(even) * share)
        found = {name: one_machine(even, size, make(even)).hits for name, make in ORDERS.items()}
        assert found["Belady"] == max(found.values())


def test_where_all_fits_all_keep_the_same() -> None:
    whole = working_set(REQUESTS)
    everything = {one_machine(REQUESTS, whole * 2, make(REQUESTS)).hits for make in ORDERS.values()}
    assert len(everything) == 1


def test_machines_that_share_repositories_fetch_less_than_machines_that_share_nothing() -> None:
    size = int(working_set(REQUESTS) * 0.5)
    alone = one_machine(REQUESTS, size, Mirror())
    hashed = several_machines(REQUESTS, [size] * 10, Mirror, by_repository)
    split = several_machines(REQUESTS, [size] * 10, Mirror, lambda request, machines: request.client % machines)
    assert hashed.upstream_bytes < split.upstream_bytes
    assert several_machines(REQUESTS, [size], Mirror, by_repository) == alone


def test_what_is_used_up_first_is_told() -> None:
    outcome = Outcome(requests=100, bytes=10**9, hits=90, hit_bytes=9 * 10**8, pulls=5)
    machine = Machine(network=1e9, disk=1e12, upstream=1e12, quota=1e6)
    told = use(outcome, 20, Costs(), machine)
    assert told.first == "network"
    assert told.most == pytest.approx(100)
    assert use(outcome, 20, Costs(), Machine(quota=0.001)).first == "upstream's quota"


def test_costs_are_taken_from_what_was_measured_and_assumed_where_nothing_was(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    assert Costs.measured(results) == Costs()
    rounds = [{"mirror": {"CPU µs a request": cost}, "nginx": {"CPU µs a request": 1}} for cost in (30, 40, 80)]
    results.write_text(json.dumps({"rows": [{"row": "warm-manifest-digest", "rounds": rounds}]}))
    costs = Costs.measured(results)
    assert costs.manifest == pytest.approx(40e-6)
    assert replace(costs, manifest=Costs().manifest) == Costs()


def test_the_tables_have_a_line_for_each_size_and_each_way_to_spread() -> None:
    assert len(shape(REQUESTS)) == 1
    assert len(eviction(REQUESTS, (0.1, 0.5))) == 4
    lines = capacity(REQUESTS, 0.1, Costs(), Machine())
    assert [line.count("|") for line in lines] == [9] * 5
