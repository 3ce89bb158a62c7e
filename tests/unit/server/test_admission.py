from __future__ import annotations

from mirror.proxy.events.connections import ConnectionsCounted
from mirror.server.admission import Admission
from tests.unit.recorder import Recorder


class Client:
    """A connection that is admitted, and ends as told."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def counts(recorder: Recorder) -> list[int]:
    return [event.open for event in recorder.of(ConnectionsCounted)]


def test_the_limit_is_told_before_anybody_comes() -> None:
    recorder = Recorder()
    Admission(7, recorder)
    assert recorder.events == [ConnectionsCounted(0, 7)]


def test_there_are_never_more_than_the_limit() -> None:
    recorder = Recorder()
    admission, clients = Admission(2, recorder), [Client() for _ in range(3)]
    assert [admission.admit(client) for client in clients] == [True, True, False]
    assert counts(recorder) == [0, 1, 2]
    assert not any(client.closed for client in clients)


def test_who_left_makes_room_once() -> None:
    recorder = Recorder()
    admission, first, second, third = Admission(1, recorder), Client(), Client(), Client()
    assert admission.admit(first)
    admission.left(first)
    admission.left(first)
    admission.left(third)
    assert admission.admit(second)
    assert not admission.admit(third)
    assert counts(recorder) == [0, 1, 0, 1]


def test_who_is_idle_longest_goes_first() -> None:
    admission, clients = Admission(3, Recorder()), [Client() for _ in range(3)]
    for client in clients:
        assert admission.admit(client)
    for client in (clients[1], clients[0], clients[2]):
        admission.idle(client)
    admission.busy(clients[1])
    admission.idle(clients[1])
    closed = []
    for _ in range(3):
        assert admission.admit(Client())
        closed.append([client.closed for client in clients])
    assert closed == [[True, False, False], [True, False, True], [True, True, True]]
    assert not admission.admit(Client())


def test_who_rests_again_goes_after_the_others() -> None:
    admission, first, second = Admission(2, Recorder()), Client(), Client()
    for client in (first, second):
        assert admission.admit(client)
    admission.rests_again(first)
    admission.idle(second)
    admission.rests_again(first)
    assert admission.admit(Client())
    assert (first.closed, second.closed) == (False, True)


def test_who_is_busy_again_does_not_go() -> None:
    admission, client = Admission(1, Recorder()), Client()
    admission.admit(client)
    admission.idle(client)
    admission.busy(client)
    assert not admission.admit(Client())
    assert not client.closed


def test_who_was_sent_away_for_another_is_not_idle_ever_after() -> None:
    admission, first, second = Admission(1, Recorder()), Client(), Client()
    admission.admit(first)
    admission.idle(first)
    assert admission.admit(second)
    admission.idle(first)
    assert not admission.admit(Client())
    assert not second.closed
