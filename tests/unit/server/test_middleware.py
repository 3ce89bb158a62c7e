from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mirror.errors import ManifestUnknown
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.events.troubles import TaskCrashed
from mirror.server.exchange import Exchange
from mirror.server.middleware import public_handler
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle


class Desk:
    """The public handler, with a handler inside that does as told."""

    def __init__(self, error: BaseException | None = None, *, begun: bool = False) -> None:
        self.observer = Recorder()
        self._error = error
        self._begun = begun
        self.handle = public_handler(self._answer, self.observer)

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        if self._begun:
            exchange.note.status = 200
        if isinstance(self._error, asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        if self._error is not None:
            raise self._error
        return exchange.respond(b"fine", {})

    @property
    def note(self) -> RequestFinished:
        [note] = self.observer.of(RequestFinished)
        return note


@in_virtual_time
async def test_a_request_is_noted_once_it_is_answered() -> None:
    desk = Desk()
    response = await desk.handle(make_mocked_request("GET", "/v2/?secret=1"))
    assert (response.status, desk.note.status, desk.note.sent) == (200, 200, 4)
    assert (desk.note.path, desk.note.cause) == ("/v2/", None)


@in_virtual_time
async def test_an_error_of_ours_is_answered() -> None:
    desk = Desk(ManifestUnknown("upstream does not have it"))
    response = await desk.handle(make_mocked_request("GET", "/v2/"))
    assert (response.status, desk.note.status) == (404, 404)
    assert (desk.note.outcome, desk.note.cause) == (Outcome.NEGATIVE, "upstream does not have it")


@in_virtual_time
async def test_a_bug_is_answered_and_reported() -> None:
    desk = Desk(ZeroDivisionError("hunter2"))
    response = await desk.handle(make_mocked_request("GET", "/v2/"))
    assert (response.status, desk.note.status) == (500, 500)
    assert desk.note.cause == "bug: ZeroDivisionError"
    assert len(desk.observer.of(TaskCrashed)) == 1


@pytest.mark.parametrize(("begun", "status"), [(False, 0), (True, 200)])
@in_virtual_time
async def test_a_request_that_is_cut_is_noted_with_its_cause(begun: bool, status: int) -> None:
    desk = Desk(asyncio.CancelledError(), begun=begun)
    handling = asyncio.ensure_future(desk.handle(make_mocked_request("GET", "/v2/")))
    await settle()
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert desk.note.status == status
    assert desk.note.cause is not None
    assert desk.note.cause.startswith("cut: ")
