"""Whether all workers live and are ready: as well as the worst of them, and which that is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import aiohttp

from mirror.supervisor.worker import Worker

ANSWER_SECONDS = 4.0
"""How long a worker has to answer; Kubernetes is told to wait for 5 s."""

SILENT = "does not answer"


async def asked(workers: Sequence[Worker], path: str) -> dict[int, Mapping[str, Any] | None]:
    """Return what each worker answers, None for one that does not, by their numbers."""
    answers = await asyncio.gather(*(_answer(worker, path) for worker in workers))
    return {worker.number: answer for worker, answer in zip(workers, answers, strict=True)}


async def _answer(worker: Worker, path: str) -> Mapping[str, Any] | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS), worker.session.get(f"http://worker{path}") as response:
            document = await response.json()
    except (TimeoutError, aiohttp.ClientError, ValueError, RuntimeError):
        return None
    return document if isinstance(document, dict) else None


def liveness(
    answers: Mapping[int, Mapping[str, Any] | None], curable: Collection[int] = ()
) -> tuple[bool, dict[str, Any]]:
    """Return whether those that were asked live, and the document that says so.

    If some still answer, one that does not and is `curable` is no reason to have the whole mirror started anew.
    """
    silent = [number for number, answer in answers.items() if answer is None]
    lives = len(silent) < len(answers) and all(number in curable for number in silent) if silent else True
    document: dict[str, Any] = {"status": "ok" if lives else "not ok"}
    if silent:
        document["degraded"] = [f"worker {number} {SILENT}" for number in silent]
    return lives, document


def readiness(answers: Mapping[int, Mapping[str, Any] | None], missing: Sequence[int]) -> tuple[bool, dict[str, Any]]:
    """Return whether all that were asked are ready, and the document that says so; of `missing` seats nobody serves."""
    is_ready = bool(answers) and all(
        answer is not None and answer.get("status") == "ready" for answer in answers.values()
    )
    said = {
        number: [f"it {SILENT}"] if answer is None else [str(one) for one in answer.get("degraded", [])]
        for number, answer in answers.items()
    }
    degraded = []
    for sentence in dict.fromkeys(sentence for sentences in said.values() for sentence in sentences):
        who = [str(number) for number, sentences in said.items() if sentence in sentences]
        degraded.append(sentence if len(who) == len(said) > 1 else f"worker {', '.join(who)}: {sentence}")
    degraded += [f"worker {number}: it is being started" for number in missing]
    return is_ready, {"status": "ready" if is_ready else "not ready", "degraded": degraded}
