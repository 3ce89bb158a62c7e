"""What the children do: a mirror's whole life until it dies, what comes after, and reading along meanwhile."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirror.errors import ConfigError, MirrorError
from mirror.oci.digest import Digest
from mirror.proxy.events.fills import FillFinished
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from tests.crash import checking
from tests.crash.content import DAMAGED, FIRST, MANIFEST, OLD, SECOND
from tests.crash.counted_os import FILE_CALLS, CountedOs, Fault
from tests.crash.machine import LATEST, ROUTE, Machine, open_files
from tests.crash.recording import RecordingOs


async def prepare(folder: str) -> None:
    """Fill a cache with what there is before anything happens."""
    machine = Machine(Path(folder))
    async with machine.running():
        for data in (*OLD, DAMAGED):
            await machine.pull(Digest.of(data))
            await machine.settle()
    _damage(Path(folder, "blobs", "sha256", Digest.of(DAMAGED).encoded))


def _damage(file: Path) -> None:
    """Turn a bit behind the mirror's back."""
    data = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    file.chmod(0o444)


async def live(folder: str, fault: str, at: int, journal: str = "") -> dict[str, Any]:
    """Start, pull, evict, scrub and stop, with a fault at one step; returns what clients got and all steps."""
    counted = CountedOs(Fault(fault), at).install()
    machine = Machine(Path(folder))
    if journal:
        _tell_commits(machine, lambda name: _note(Path(journal), name))
    result: dict[str, Any] = {"started": True, "clients": []}
    try:
        async with machine.running():
            result["clients"] = [await _client(machine, data) for data in (FIRST, SECOND)]
            result["manifest"] = await _manifest_client(machine)
            await machine.settle()
            await machine.scrub()
            await machine.settle()
    except ConfigError:
        result["started"] = False
    result["crashed"] = [str(event) for event in machine.observer.of(TaskCrashed)]
    result["troubles"] = [str(event) for event in machine.observer.of(StoreTroubled)]
    result["steps"], result["opens"] = counted.steps, counted.opens
    return result


def _tell_commits(machine: Machine, tell: Callable[[str], None]) -> None:
    """Have every blob told that the mirror says is committed, at that moment."""
    notify = machine.observer.notify

    def telling(event: Any) -> None:
        notify(event)
        if isinstance(event, FillFinished) and event.committed:
            tell(event.digest.encoded)

    machine.observer.notify = telling  # type: ignore[method-assign]


def _note(journal: Path, name: str) -> None:
    with journal.open("a") as lines:
        lines.write(f"{name}\n")


async def record(folder: str, log: str) -> None:
    """Live without a fault, and leave a log of every operation on the disk, with what was committed when."""
    recording = RecordingOs(Path(folder))
    for module in FILE_CALLS:
        vars(module)["os"] = recording
    machine = Machine(Path(folder))
    _tell_commits(machine, lambda name: recording.log.append(("committed", name)))
    async with machine.running():
        for data in (FIRST, SECOND):
            assert await _client(machine, data) == "whole"
        assert await _manifest_client(machine) == "whole"
        await machine.settle()
        await machine.scrub()
        await machine.settle()
    with open(log, "wb") as target:  # noqa: ASYNC230  # nothing else runs any more
        pickle.dump(recording.log, target)


async def _client(machine: Machine, data: bytes) -> str:
    """Return how the pull of a blob ended: whole, cut, or wrong. One that does not end is an error."""
    try:
        async with asyncio.timeout(30):
            got = await machine.pull(Digest.of(data))
    except MirrorError as error:
        return f"cut: {error}"
    return "whole" if got == data else "wrong"


async def _manifest_client(machine: Machine) -> str:
    try:
        pulled = await machine.manifests.pull(ROUTE, LATEST)
    except MirrorError as error:
        return f"cut: {error}"
    return "whole" if pulled.manifest == MANIFEST else "wrong"


async def follow_up(folder: str) -> dict[str, Any]:
    """Use the folder as the next mirror does; returns what upstream had to send of each blob."""
    path = Path(folder)
    before = open_files()
    machine = Machine(path)
    async with machine.running():
        assert not checking.strange(path), checking.strange(path)
        assert await machine.cache.inventory.strangers() == []
        for data in (FIRST, SECOND):
            assert await _client(machine, data) == "whole"
            await machine.settle()
        sent = {digest.encoded: size for digest, size in machine.upstream.sent.items()}
        assert await _manifest_client(machine) == "whole"
        for data in (FIRST, SECOND):
            assert await _client(machine, data) == "whole"
        assert machine.upstream.sent[Digest.of(FIRST)] == sent.get(Digest.of(FIRST).encoded, 0)
        report = await machine.scrub()
        assert report is not None
        # It was damaged, and may have been on its way when the one before died.
        assert await _client(machine, DAMAGED) == "whole"
        await machine.settle()
        assert not checking.wrong(path)
    assert machine.observer.of(TaskCrashed) == []
    assert machine.observer.of(StoreTroubled) == []
    assert not checking.litter(path), checking.litter(path)
    assert open_files() == before
    assert len(asyncio.all_tasks()) == 1
    return sent


async def write(folder: str, at: int) -> dict[str, Any]:
    """Pull one blob slowly enough to be read along with, and die at one step of it."""
    machine = Machine(Path(folder), pause=0.05)
    await machine.cache.start()
    counted = CountedOs(Fault.KILL, at).install()
    os.close(os.open(f"{folder}/begun", os.O_CREAT))
    await machine.pull(Digest.of(FIRST))
    await machine.settle()
    return {"steps": counted.steps}


async def read_along(folder: str) -> dict[str, Any]:
    """Pull what another process is pulling."""
    machine = Machine(Path(folder))
    async with machine.running():
        await _until_begun(Path(folder))
        ended = await _client(machine, FIRST)
        again = await _client(machine, FIRST)
        await machine.settle()
    assert machine.observer.of(TaskCrashed) == []
    return {"ended": ended, "again": again, "sent": machine.upstream.sent[Digest.of(FIRST)]}


async def _until_begun(folder: Path) -> None:
    """Wait until another process has begun to write the blob, or had time enough to die before."""
    name = Digest.of(FIRST).encoded
    async with asyncio.timeout(60):
        while not (folder / "begun").exists():  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.005)
    for _ in range(60):
        if (folder / "partial" / f"sha256-{name}").exists() or (folder / "blobs" / "sha256" / name).exists():
            return
        await asyncio.sleep(0.005)
