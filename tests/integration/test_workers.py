"""Several workers under one supervisor: one port, one cache, one admin listener, and nobody notices a replacement."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import configuration, run, write
from tests.integration.half_sent import HALF, SIZE, blob, gate
from tests.integration.paths import path_of
from tests.integration.processes import REPOSITORY, committed, written
from tests.integration.waiting import until
from tests.integration.workers import Crew, Start, crew, lives, start_workers, traced

LATEST = f"/v2/{REPOSITORY}/manifests/latest"
ACCEPT = ", ".join(content.ALL_TYPES)
HITS = 'mirror_requests_total{kind="other",outcome="hit",upstream="none"}'
HUNG = 'mirror_worker_restarts_total{reason="hung"}'
LOST = 'mirror_worker_restarts_total{reason="lost"}'
RELOADED = 'mirror_worker_restarts_total{reason="reload"}'

__all__ = ["blob", "crew", "gate", "start_workers"]


async def test_a_cold_blob_that_both_are_asked_for_comes_from_upstream_once(
    crew: Crew, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    clients = [await crew.client(1), await crew.client(2)]
    for client in clients:
        await client.ask(path_of(blob))
        assert (await client.head()).status == 200
    gate.open()
    for body in await asyncio.gather(*(client.exactly(SIZE) for client in clients)):
        assert content.digest_of(body) == blob.digest
    await committed(crew.cache, blob)
    assert journal.paths() == [f"GET {path_of(blob)}"]
    assert journal.body_bytes() == SIZE


async def test_a_worker_killed_in_the_middle_of_a_fill_is_replaced_and_clients_of_the_other_do_not_notice(
    crew: Crew, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    dying, other = await crew.client(1), await crew.client(2)
    await dying.ask(path_of(blob))
    assert (await dying.head()).status == 200
    await other.ask(path_of(blob))
    assert (await other.head()).status == 200
    await written(crew.cache, blob, HALF)
    before = await crew.page()
    first, second = crew.pids()

    os.kill(first, signal.SIGKILL)

    assert content.digest_of(await other.exactly(SIZE)) == blob.digest
    assert [entry.range for entry in journal.entries] == [None, f"bytes={HALF}-"]
    [line] = await crew.mirror.logged(lambda line: "worker lost" in line)
    assert 'worker=1 cause="killed by SIGKILL"' in line
    assert (await (await crew.client(1)).nothing_comes()) is True
    assert first not in crew.pids()
    assert second in crew.pids()
    after = await crew.page()
    counts = [name for name in before if "_total" in name or "_count" in name or "_bucket" in name]
    assert [name for name in counts if after[name] < before[name]] == []
    assert after[LOST] == 1


async def test_what_the_workers_count_is_added_up(crew: Crew) -> None:
    before = await crew.page()
    clients = [await crew.client(1), await crew.client(2)]
    asked = len([line for line in crew.mirror.log if "event=request" in line])
    for number, client in enumerate(clients, 1):
        for _ in range(number * 3):
            await client.ask("/v2/")
            assert (await client.answer()).head.status == 200
    after = await crew.page()
    assert after[HITS] == asked + 9
    assert after["mirror_workers"] == 2
    assert after["mirror_ready"] == 1
    assert after["mirror_connections"] >= 2
    assert after["mirror_cache_max_bytes"] == before["mirror_cache_max_bytes"] == 50 * 1024**3


async def test_a_reload_under_load_fails_no_request_and_counts_go_on(crew: Crew) -> None:
    former = crew.pids()
    loading, outcomes = asyncio.Event(), list[int]()

    async def load(session: aiohttp.ClientSession) -> None:
        while not loading.is_set():
            async with session.get(f"http://{crew.mirror.address('public')}/v2/") as response:
                await response.read()
                outcomes.append(response.status)

    async with (
        aiohttp.ClientSession() as kept,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as anew,
    ):
        tasks = [asyncio.create_task(load(session)) for session in (kept, kept, anew, anew)]
        crew.configure(log={"level": "info", "format": "json"})
        crew.mirror.terminate(signal.SIGHUP)
        await crew.mirror.logged(lambda line: '"event": "reloaded"' in line)
        seen = len(outcomes)
        await until(lambda: len(outcomes) > seen + 20, "the new workers are asked")
        loading.set()
        await asyncio.gather(*tasks)
    await until(lambda: not any(map(lives, former)), "the former workers have ended")
    assert set(outcomes) == {200}
    after = await crew.page()
    assert after[RELOADED] == 2
    assert after[HITS] == len(outcomes)
    assert len(crew.pids()) == 2


async def test_who_is_idle_through_a_reload_is_answered_once_more_and_told_that_it_is_the_last(crew: Crew) -> None:
    client = await crew.client(1)
    former, _ = crew.pids()
    crew.mirror.terminate(signal.SIGHUP)
    # What the client asks and that it is replaced reach the worker at the same moment.
    os.kill(former, signal.SIGSTOP)
    await crew.mirror.logged(lambda line: "worker replaced" in line and "worker=1" in line)
    await client.ask("/v2/")
    os.kill(former, signal.SIGCONT)
    while "connection" not in (head := (await client.answer()).head).headers:
        # It has not come to that yet.
        assert head.status == 200
        await client.ask("/v2/")
    assert (head.status, head.headers["connection"]) == (200, "close")
    assert await client.rest() == b""
    await until(lambda: not lives(former), "the former worker has ended")
    assert (await crew.ask(1, "/v2/")).head.status == 200


async def test_a_transfer_goes_on_through_a_reload(crew: Crew, blob: FakeBlob, gate: Gate) -> None:
    client = await crew.client(1)
    await client.ask(path_of(blob))
    assert (await client.head()).status == 200
    crew.mirror.terminate(signal.SIGHUP)
    await crew.mirror.logged(lambda line: "event=reloaded" in line)
    gate.open()
    assert content.digest_of(await client.exactly(SIZE)) == blob.digest


@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to all, as systemd may send it"])
async def test_a_stop_lets_transfers_finish(crew: Crew, blob: FakeBlob, gate: Gate, to_all: bool) -> None:
    clients = [await crew.client(1), await crew.client(2)]
    for client in clients:
        await client.ask(path_of(blob))
        assert (await client.head()).status == 200
    for pid in crew.pids() if to_all else []:
        os.kill(pid, signal.SIGTERM)
    crew.mirror.terminate()
    await crew.mirror.logged(lambda line: "event=stopping" in line)
    gate.open()
    for body in await asyncio.gather(*(client.exactly(SIZE) for client in clients)):
        assert content.digest_of(body) == blob.digest
    assert await crew.mirror.exit_code() == 0
    assert "event=stopped" in crew.mirror.log[-1]
    assert [line for line in crew.mirror.log if "lost" in line] == []


async def test_a_second_signal_does_not_wait(start_workers: Start, blob: FakeBlob, gate: Gate) -> None:
    async with start_workers(drain_timeout="1h") as crew:
        client = await crew.client(2)
        await client.ask(path_of(blob))
        assert (await client.head()).status == 200
        crew.mirror.terminate(signal.SIGINT)
        await crew.mirror.logged(lambda line: "event=stopping" in line)
        crew.mirror.terminate(signal.SIGINT)
        assert await crew.mirror.exit_code() == 0


async def test_workers_end_with_their_supervisor(crew: Crew) -> None:
    pids = crew.pids()
    crew.mirror.process.kill()
    await until(lambda: not any(map(lives, pids)), "the workers have ended")


async def test_a_purge_is_obeyed_by_all_at_once(crew: Crew, registry: FakeRegistry, journal: Journal) -> None:
    image = content.image(layers=1)
    registry.add_image(REPOSITORY, "latest", image)
    for worker in (1, 2):
        assert (await crew.ask(worker, LATEST, Accept=ACCEPT)).head.status == 200
    journal.clear()
    clients = [await crew.client(1), await crew.client(2)]
    async with crew.mirror.session.delete(
        f"http://{crew.mirror.address('admin')}/api/v1/images/{REPOSITORY}:latest"
    ) as response:
        assert (response.status, (await response.json())["images"]) == (200, [f"docker.io/{REPOSITORY}:latest"])
    registry.remove_tag(REPOSITORY, "latest")
    for client in clients:
        await client.ask(LATEST, Accept=ACCEPT)
        assert (await client.answer()).head.status == 404


async def test_a_worker_that_hangs_is_named_and_replaced_and_one_at_a_time(start_workers: Start) -> None:
    async with start_workers(worker_timeout="3s") as crew:
        first, second = crew.pids()
        before = await crew.page()
        os.kill(second, signal.SIGSTOP)
        named = await asyncio.gather(crew.mirror.admin("/livez"), crew.mirror.admin("/readyz"))
        assert [response.status for response, _ in named] == [200, 503]
        assert ["worker 2" in body.decode() for _, body in named] == [True, True]
        [hangs, lost] = await crew.mirror.logged(lambda line: "worker=2" in line and "worker " in line, 2)
        assert "worker hangs" in hangs
        assert "silent_seconds=" in hangs
        assert "worker lost" in lost
        assert 'cause="it answered nothing any more"' in lost
        assert re.search(r'stack="\S+ \(\S+\.py:[0-9]+\) < .*run', lost), lost
        assert (await (await crew.client(2)).nothing_comes()) is True
        assert first in crew.pids()
        assert second not in crew.pids()
        both = crew.pids()
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        response, body = await crew.mirror.admin("/livez")
        assert response.status == 503
        assert json.loads(body)["degraded"] == ["worker 1 does not answer", "worker 2 does not answer"]
        told = await crew.mirror.logged(lambda line: "worker hangs" in line or "worker lost" in line, 6)
        assert ["worker hangs" in line for line in told] == [True, False] * 3
        await until(lambda: len(crew.pids()) == 2, "both are replaced")
        assert set(both).isdisjoint(crew.pids())
        for worker in (1, 2):
            assert (await crew.ask(worker, "/v2/")).head.status == 200
        after = await crew.page()
        assert after[HUNG] == before[HUNG] + 3
        assert after[LOST] == before[LOST] == 0
        assert [path.name for path in crew.folder.glob("core*")] == []


async def test_who_drains_or_is_looked_into_may_answer_nothing(
    start_workers: Start, blob: FakeBlob, gate: Gate
) -> None:
    async with start_workers(worker_timeout="3s") as crew:
        former, idle = crew.pids()
        client = await crew.client(1)
        await client.ask(path_of(blob))
        assert (await client.head()).status == 200
        crew.mirror.terminate(signal.SIGHUP)
        await crew.mirror.logged(lambda line: "event=reloaded" in line)
        await until(lambda: not lives(idle), "who has nothing to do has ended")
        _, first, second = crew.pids()
        os.kill(former, signal.SIGSTOP)
        with traced(first):
            os.kill(second, signal.SIGSTOP)
            await crew.mirror.logged(lambda line: "worker lost" in line)
            await until(lambda: len(set(crew.pids()) - {former, first, second}) == 1, "another is there")
        os.kill(former, signal.SIGCONT)
        gate.open()
        assert content.digest_of(await client.exactly(SIZE)) == blob.digest
        assert (await crew.ask(1, "/v2/")).head.status == 200
        assert first in crew.pids()
        assert {"worker=2" in line for line in crew.mirror.log if "worker hangs" in line} == {True}


async def test_a_cache_that_cannot_be_used_is_told_once_with_the_exit_code_of_configuration(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("")
    config = write(configuration(registry, token_service, tmp_path, workers=3), tmp_path)
    finished = await run("serve", "--config", config, folder=tmp_path)
    assert finished.code == 78
    assert finished.stderr == f"mirror: cache.path: {tmp_path / 'cache'} is not a folder\n"


async def test_a_single_process_says_that_it_cannot_be_reloaded(start_workers: Start) -> None:
    async with start_workers(workers=1) as crew:
        crew.mirror.terminate(signal.SIGHUP)
        await crew.mirror.logged(lambda line: "not reloaded" in line)
        assert (await crew.mirror.get("/v2/"))[0].status == 200


def _is_refusal(cause: str, line: str) -> bool:
    return "not reloaded" in line and cause in line


def _configurations(pid: int) -> int:
    """Return how many configurations a supervisor has open."""
    found = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += "memfd:configuration" in os.readlink(file)
    return found


async def test_a_reload_says_in_one_line_what_cannot_be_and_the_rest_goes_on(crew: Crew) -> None:
    """What is refused changes nothing; of what is taken, a restart is named where it is needed."""
    former = crew.pids()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"nonsense": 1}, 'cause="nonsense: unknown key'),
        ({"cache": {"path": "mirror.yaml"}}, "is not a folder"),
    ]
    for change, cause in refused:
        crew.configure(**change)
        crew.mirror.terminate(signal.SIGHUP)
        await crew.mirror.logged(partial(_is_refusal, cause))
        assert crew.pids()[:2] == former
        assert (await crew.mirror.get("/v2/"))[0].status == 200
    assert len([line for line in crew.mirror.log if "not reloaded" in line]) == len(refused)
    assert _configurations(crew.mirror.process.pid) == 1
    crew.configure(workers=3, listen="127.0.0.1:1")
    crew.mirror.terminate(signal.SIGHUP)
    [line] = await crew.mirror.logged(lambda line: "in part" in line)
    assert 'fields="listen, workers"' in line
    await crew.mirror.logged(lambda line: "event=reloaded" in line)
    await until(lambda: len(crew.pids()) == 2, "there are as many as before")
    assert set(former).isdisjoint(crew.pids())
    assert (await crew.mirror.get("/v2/"))[0].status == 200


async def test_outside_the_workers_are_one_mirror(crew: Crew, registry: FakeRegistry, tmp_path: Path) -> None:
    """Commands work, the admin side guards itself, and nobody else gets the port."""
    registry.add_image(REPOSITORY, "latest", content.image(layers=1))
    running = {**crew.config, "admin": {"listen": crew.mirror.address("admin")}}
    config = write(running, tmp_path, "command.yaml")
    second = write({**crew.config, "listen": crew.mirror.address("public")}, tmp_path, "second.yaml")
    warmed, scrubbed, refused = await asyncio.gather(
        run("warm", "--config", config, "--platform", "all", "alpine", folder=tmp_path),
        run("scrub", "--config", config, folder=tmp_path),
        run("serve", "--config", second, folder=tmp_path),
    )
    assert warmed.code == 0, warmed.stderr
    assert scrubbed.code == 0, scrubbed.stderr
    assert (refused.code, refused.stderr) == (1, f"mirror: listen: {crew.mirror.address('public')} is in use\n")
    base, session = f"http://{crew.mirror.address('admin')}", crew.mirror.session
    async with session.get(f"{base}/api/v1/images") as response:
        assert "library/alpine:latest" in await response.text()
    async with session.get(f"{base}/api/v1/images", headers={"Host": "evil.example"}) as response:
        assert response.status == 403
    async with session.post(f"{base}/api/v1/pins", json={"image": "alpine"}, headers={"Origin": "x"}) as response:
        assert response.status == 403
    async with session.get(f"{base}/unheard/of") as response:
        assert (response.status, response.headers["Server"]) == (404, "mirror")
    assert len([line for line in crew.mirror.log if "event=listening" in line]) == 1
