from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.scrubbing import FileScrubbed
from mirror.proxy.routing import Route
from mirror.proxy.scrubbing.scrub import Action, Finding, Leftover, Problem, Report, Scrub, StoredFile, Thoroughness
from mirror.proxy.tasks import cancelled
from tests.unit.proxy.doubles import HUB, OTHER
from tests.unit.proxy.scrubbing import MemoryInventory, ScriptedFetch, files
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle

QUAY = Route("quay.io", Repository("some/thing"))
FILES = files(5)
BAD = FILES[2]
MENDED = [Problem.DAMAGED, Problem.RESIZED, Problem.UNREADABLE]


def with_a_bad_file(*routes: Route, problem: Problem = Problem.DAMAGED) -> MemoryInventory:
    return MemoryInventory(FILES, {BAD.digest: problem}, {BAD.digest: list(routes)})


async def scrubbed(
    inventory: MemoryInventory, fetch: ScriptedFetch | None = None, how: Thoroughness | None = None
) -> Report:
    return await Scrub(inventory, fetch or ScriptedFetch(), Recorder()).run(how or Thoroughness())


async def finding(inventory: MemoryInventory, fetch: ScriptedFetch | None = None) -> Finding:
    """The only one."""
    [found] = (await scrubbed(inventory, fetch)).findings
    return found


@in_virtual_time
async def test_a_clean_cache_is_counted() -> None:
    inventory = MemoryInventory(FILES)
    report = await scrubbed(inventory)
    assert (report.files, report.size, report.findings) == (5, 500, [])
    assert report.strangers == ["notes.txt"]
    assert report.unfinished == [Leftover("sha256-0", 5, is_written=False)]
    assert inventory.examined == [file.digest for file in FILES]
    assert inventory.removed == []


@in_virtual_time
async def test_an_empty_cache_is_clean() -> None:
    report = await scrubbed(MemoryInventory([]))
    assert (report.files, report.size, report.findings) == (0, 0, [])


@in_virtual_time
async def test_it_goes_about_it_as_told() -> None:
    inventory = MemoryInventory(FILES[:2])
    await scrubbed(inventory, how=Thoroughness(fast=True))
    await scrubbed(inventory, how=Thoroughness(bandwidth=7))
    assert inventory.how == [(True, None)] * 2 + [(False, 7)] * 2


@pytest.mark.parametrize("problem", MENDED)
@pytest.mark.parametrize("kind", [Kind.BLOB, Kind.MANIFEST])
@in_virtual_time
async def test_a_bad_file_is_removed_and_fetched_again(problem: Problem, kind: Kind) -> None:
    inventory = with_a_bad_file(HUB, problem=problem)
    inventory.listed = [replace(file, kind=kind) for file in FILES]
    fetch = ScriptedFetch(None)
    assert await finding(inventory, fetch) == Finding(replace(BAD, kind=kind), problem, Action.REFETCHED)
    assert inventory.removed == [BAD.digest]
    assert fetch.asked == [(HUB, kind)]


@in_virtual_time
async def test_where_one_repository_refuses_the_next_is_asked() -> None:
    fetch = ScriptedFetch(errors.Denied("no"), errors.BlobUnknown("gone"), None)
    found = await finding(with_a_bad_file(HUB, OTHER, QUAY), fetch)
    assert found.action is Action.REFETCHED
    assert [route for route, _ in fetch.asked] == [HUB, OTHER, QUAY]


@pytest.mark.parametrize(
    "error",
    [
        errors.UpstreamTimeout("silent"),
        errors.DigestMismatch("wrong bytes"),
        errors.BodyCut("cut"),
        errors.UnknownRegistry("not configured"),
    ],
)
@in_virtual_time
async def test_an_upstream_that_cannot_give_it_is_asked_once(error: MirrorError) -> None:
    fetch = ScriptedFetch(error, errors.Denied("no"))
    found = await finding(with_a_bad_file(HUB, OTHER, QUAY), fetch)
    assert [route for route, _ in fetch.asked] == [HUB, QUAY]
    assert (found.action, found.detail) == (Action.REMOVED, "quay.io/some/thing: no")


@in_virtual_time
async def test_what_nobody_is_known_to_have_is_removed() -> None:
    inventory = with_a_bad_file()
    found = await finding(inventory)
    assert (found.action, found.detail) == (Action.REMOVED, "no repository is known to have it")
    assert inventory.removed == [BAD.digest]


@pytest.mark.parametrize("problem", Problem)
@in_virtual_time
async def test_without_repair_a_bad_file_is_only_reported(problem: Problem) -> None:
    inventory, fetch = with_a_bad_file(HUB, problem=problem), ScriptedFetch()
    report = await scrubbed(inventory, fetch, Thoroughness(repairs=False))
    assert report.findings == [Finding(BAD, problem, Action.LEFT)]
    assert (inventory.removed, fetch.asked) == ([], [])


@in_virtual_time
async def test_what_could_not_be_examined_is_left_alone() -> None:
    inventory, fetch = with_a_bad_file(HUB, problem=Problem.UNEXAMINED), ScriptedFetch()
    assert await finding(inventory, fetch) == Finding(BAD, Problem.UNEXAMINED, Action.LEFT)
    assert (inventory.removed, fetch.asked) == ([], [])


@in_virtual_time
async def test_what_the_disk_does_not_let_go_of_is_left() -> None:
    inventory, fetch = with_a_bad_file(HUB), ScriptedFetch()
    inventory.is_read_only = True
    found = await finding(inventory, fetch)
    assert (found.action, found.detail) == (Action.LEFT, "the disk refused: Read-only file system")
    assert fetch.asked == []


@in_virtual_time
async def test_a_bad_file_that_was_replaced_meanwhile_is_no_finding() -> None:
    inventory, fetch = with_a_bad_file(HUB), ScriptedFetch()
    inventory.replaced = {BAD.digest}
    assert (await scrubbed(inventory, fetch)).findings == []
    assert (inventory.removed, fetch.asked) == ([], [])


@in_virtual_time
async def test_each_file_is_told_of_with_its_end() -> None:
    observer, seen = Recorder(), list[StoredFile]()

    async def passed(file: StoredFile) -> None:
        seen.append(file)

    await Scrub(with_a_bad_file(HUB), ScriptedFetch(None), observer).run(Thoroughness(), passed=passed)
    events = {event.digest: (event.problem, event.action) for event in observer.of(FileScrubbed)}
    good: dict[object, object] = {file.digest: (None, None) for file in FILES}
    assert events == good | {BAD.digest: (Problem.DAMAGED, Action.REFETCHED)}
    assert seen == FILES


@in_virtual_time
async def test_what_was_removed_is_told_though_the_scrub_is_interrupted() -> None:
    async def never(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    observer = Recorder()
    scrub = asyncio.create_task(Scrub(with_a_bad_file(HUB), never, observer).run(Thoroughness()))
    await settle()
    await cancelled(scrub)
    last = observer.of(FileScrubbed)[-1]
    assert (last.digest, last.action) == (BAD.digest, Action.REMOVED)


@pytest.mark.parametrize("is_gone", [False, True])
@in_virtual_time
async def test_it_goes_on_behind_a_file_that_need_not_be_there_any_more(is_gone: bool) -> None:
    inventory = MemoryInventory([file for file in FILES if not (is_gone and file is BAD)])
    report = await Scrub(inventory, ScriptedFetch(), Recorder()).run(Thoroughness(), after=BAD.digest)
    assert inventory.examined == [file.digest for file in FILES[3:]]
    assert report.files == 2
