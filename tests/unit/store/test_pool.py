"""A pool's threads: there from the beginning, gone at the end, whoever ends it."""

from __future__ import annotations

import functools
import gc
import threading
import weakref

import pytest

from mirror.store.pool import Pool


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}_")]


def test_all_threads_are_there_before_the_first_call() -> None:
    pool = Pool("early", 3)
    assert len(threads_of("early")) == 3
    pool.close()


def test_as_many_calls_are_made_at_a_time_as_there_are_threads() -> None:
    pool, met = Pool("meeting", 3), threading.Barrier(4)
    for _ in range(3):
        pool.take(functools.partial(met.wait, 60))
    met.wait(60)
    pool.close()


def test_closing_has_all_done_that_was_taken() -> None:
    pool, done, gate = Pool("closed", 1), list[int](), threading.Event()
    pool.take(functools.partial(gate.wait, 60))
    for number in range(5):
        pool.take(functools.partial(done.append, number))
    gate.set()
    pool.close()
    assert done == [0, 1, 2, 3, 4]
    assert threads_of("closed") == []


def test_nothing_is_taken_after_the_end() -> None:
    pool = Pool("ended", 1)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError):
        pool.take(lambda: None)


def test_the_threads_of_a_pool_that_nobody_has_end() -> None:
    pool = Pool("lost", 2)
    threads = threads_of("lost")
    del pool
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert threads_of("lost") == []


def test_what_a_call_holds_is_let_go_of_when_it_was_made() -> None:
    class Held:
        pass

    held, made = Held(), threading.Event()
    seen = weakref.ref(held, lambda _: made.set())
    pool = Pool("holding", 1)
    pool.take(functools.partial(id, held))
    del held
    assert made.wait(60)
    assert seen() is None
    pool.close()
