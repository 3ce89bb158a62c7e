"""The herd: fifty clients of one large cold blob, a mirror in a process of its own, and what that costs."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.fakes import content
from tests.fakes.faults import stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import docker_io
from tests.integration.paths import path_of
from tests.integration.raw_http import RawClient, raw_client
from tests.integration.waiting import until

MIB = 1024 * 1024
SIZE = 200 * MIB
CLIENTS = 50
FIRST_BYTES = MIB
MOST_GROWTH = 64 * MIB

_LISTENING = re.compile(r"public='?([0-9.]+:[0-9]+)")


@dataclass(slots=True)
class MirrorProcess:
    """A running `mirror serve`."""

    process: asyncio.subprocess.Process
    log: list[str]
    address: str = ""

    def memory(self, field: str) -> int:
        """Bytes of memory, as the kernel counts them: VmRSS now, VmHWM at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Let VmHWM begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@asynccontextmanager
async def mirror_process(config: Path) -> AsyncIterator[MirrorProcess]:
    """Start `mirror serve`, and stop it as an init system does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mirror", "serve", "--config", config, stdout=asyncio.subprocess.PIPE
    )
    mirror = MirrorProcess(process, [])
    reading = asyncio.create_task(_read(process, mirror.log))
    try:
        await until(lambda: any(_LISTENING.search(line) for line in mirror.log), "the mirror listens")
        mirror.address = next(match[1] for line in mirror.log if (match := _LISTENING.search(line)))
        yield mirror
        process.terminate()
        async with asyncio.timeout(45):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


async def _read(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        log.append(line.decode())


@pytest.fixture
async def served(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> AsyncIterator[MirrorProcess]:
    config = tmp_path / "config.yaml"
    fields = {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "drain_timeout": "5s",
        "cache": {"path": str(tmp_path / "cache")},
        "upstreams": {"docker.io": docker_io(registry, token_service)},
    }
    config.write_text(yaml.safe_dump(fields))
    async with mirror_process(config) as mirror:
        yield mirror


async def begin(client: RawClient, path: str) -> hashlib._Hash:
    """Ask, and read the first bytes, into a hash."""
    await client.ask(path)
    head = await client.head()
    assert (head.status, head.length) == (200, SIZE)
    digest = hashlib.sha256()
    await client.pour(FIRST_BYTES, digest.update)
    return digest


async def finish(client: RawClient, digest: hashlib._Hash) -> str:
    """Read the rest, and return the hash of the whole."""
    await client.pour(SIZE - FIRST_BYTES, digest.update)
    return f"sha256:{digest.hexdigest()}"


async def warm_up(registry: FakeRegistry, mirror: MirrorProcess) -> None:
    """Pull something small, cold and warm, on as many connections, so that what is measured is this blob alone."""
    small = content.blob(3 * MIB, "warm-up")
    registry.put_blob("library/alpine", small)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(mirror.address)) for _ in range(3)]
        for client in clients:
            await client.ask(path_of(small))
            assert (await client.answer()).body == small.data


async def test_fifty_clients_of_one_cold_blob(
    registry: FakeRegistry, journal: Journal, served: MirrorProcess, cache_folder: CacheFolder
) -> None:
    blob = content.blob(SIZE, "herd")
    registry.put_blob("library/alpine", blob)
    await warm_up(registry, served)
    gate = Gate()
    registry.fault(path_of(blob), stop_at(SIZE // 2, gate))
    served.forget_peak()
    before = served.memory("VmRSS")
    started = time.monotonic()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(served.address)) for _ in range(CLIENTS)]
        digests = await asyncio.gather(*(begin(client, path_of(blob)) for client in clients))
        # All fifty have bytes; upstream has sent half and stands still.
        await gate.reached()
        assert journal.body_bytes(path_of(blob)) == SIZE // 2
        assert cache_folder.digests().isdisjoint({blob.digest})
        gate.open()
        whole = await asyncio.gather(
            *(finish(client, digest) for client, digest in zip(clients[1:], digests[1:], strict=True))
        )
        seconds = time.monotonic() - started
        # The last bytes go out as soon as they are verified; the disk may take longer.
        await until(lambda: cache_folder.file(blob.digest).exists(), "the blob is committed")
        growth = served.memory("VmHWM") - before
        after = served.memory("VmRSS") - before
        # Nobody waited for the one that stalled; now it reads on, and gets all of it as well.
        late = await finish(clients[0], digests[0])

    fetched = journal.body_bytes(path_of(blob)) / SIZE
    print(
        f"\n{CLIENTS} clients of {SIZE // MIB} MiB, one stalled: {len(whole)} whole in {seconds:.1f} s, then that one;"
        f" {len(whole) * SIZE / seconds / MIB:.0f} MiB/s;"
        f"\nmemory {before / MIB:.1f} MiB before, at most {growth / MIB:+.1f} MiB, {after / MIB:+.1f} MiB at the end;"
        f"\nfrom upstream {fetched:.2f} x, in {journal.count('GET', path_of(blob))} transfer"
    )
    assert [*whole, late] == [blob.digest] * CLIENTS
    assert growth <= MOST_GROWTH
    assert journal.paths()[1:] == [f"GET {path_of(blob)}"]
    assert journal.body_bytes(path_of(blob)) == SIZE
    assert cache_folder.file(blob.digest).stat().st_size == SIZE
    assert cache_folder.partials() == []
    assert [line for line in served.log if "level=error" in line] == []
