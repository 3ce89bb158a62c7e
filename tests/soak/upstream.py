"""The registry behind one of the mirrors: the fake, spoiled at random, and every request noted with its times."""

from __future__ import annotations

import asyncio
import random
import re

from tests.fakes import faults, range_faults
from tests.fakes.answer import Answer
from tests.fakes.gate import Gate
from tests.fakes.journal import Entry
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.sending import send
from tests.fakes.wire import Connection
from tests.soak.history import Objection, Recorder, Transfer

_TARGET = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")
_PACE = 2e6
# Bytes a second of a blob: so slow that clients find fills under way.


class SpoiledRegistry(FakeRegistry):
    """Answers as the fake does, except that a share `spoils` of the answers is spoiled.

    Every answer is noted once it has ended, as a transfer of the mirror called `name`.
    """

    def __init__(self, name: str, recorder: Recorder, chance: random.Random, longest_stall: float) -> None:
        super().__init__(name=name)
        self.spoils = 0.0
        self._recorder = recorder
        self._chance = chance
        self._longest_stall = longest_stall

    async def _serve(self, request: Request, connection: Connection) -> None:
        entry = self.journal.note(self.name, request)
        begun, start, fault = _now(), 0, None
        try:
            await self._answering.wait()
            fault, answer = self._spoiled(request, self._answer(request))
            start = _first_byte(answer)
            await send(answer, request, connection, entry)
        finally:
            self._note(entry, begun, start, fault)

    def _spoiled(self, request: Request, answer: Answer) -> tuple[str | None, Answer]:
        if "/blobs/" in request.path:
            answer = faults.rate(_PACE)(answer)
        if answer.status not in {200, 206} or request.path == "/v2/" or self._chance.random() >= self.spoils:
            return None, answer
        name, fault = self._fault(answer, is_head=request.method == "HEAD")
        return name, fault(answer)

    def _fault(self, answer: Answer, *, is_head: bool) -> tuple[str, Fault]:
        """A fault that this answer can have."""
        chance, size = self._chance, len(answer.body)
        somewhere = chance.randrange(size) if size else 0
        status, retry_after = chance.choice(((500, None), (502, None), (503, None), (429, 1)))
        possible: dict[str, Fault] = {
            "status": faults.status(status, retry_after),
            "delay": faults.delay(chance.uniform(0.1, 1.0)),
            "dropped": faults.dropped,
        }
        if not is_head and size:
            possible |= {
                "cut": faults.cut_at(somewhere),
                "short": faults.short_body(somewhere),
                "truncated": faults.truncated(somewhere),
                "wrong": faults.wrong_bytes(somewhere),
                "slow": faults.rate(max(size / chance.uniform(0.5, 3.0), 2048)),
                "stall": self._stall(somewhere),
                "chunked": faults.chunked,
            }
        if not is_head and answer.whole is not None:
            possible["ignored"] = range_faults.ignored
            possible["unsatisfiable"] = range_faults.unsatisfiable
        name = chance.choice(sorted(possible))
        return name, possible[name]

    def _stall(self, byte: int) -> Fault:
        seconds = min(self._chance.expovariate(0.7), self._longest_stall)

        def stall(answer: Answer) -> Answer:
            gate = Gate()
            asyncio.get_running_loop().call_later(seconds, gate.open)
            return faults.stop_at(byte, gate)(answer)

        return stall

    def _note(self, entry: Entry, begun: float, start: int, fault: str | None) -> None:
        for text in self.journal.expect_unknown():
            self._recorder.note(Objection(text))
        self.journal.clear()
        target = _TARGET.fullmatch(entry.path)
        if target is not None:
            self._recorder.note(
                Transfer(
                    t0=begun,
                    t1=_now(),
                    process=self.name,
                    method=entry.method,
                    **target.groupdict(),
                    status=entry.status,
                    start=start,
                    sent=entry.sent,
                    fault=fault,
                )
            )


def _first_byte(answer: Answer) -> int:
    """Where in its blob the body begins."""
    part = re.match(r"bytes (\d+)-", answer.header("Content-Range") or "")
    return int(part[1]) if part is not None and answer.status == 206 else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
