from __future__ import annotations

import faulthandler
import os

from hypothesis import given
from hypothesis import strategies as st

from mirror.supervisor.stack import in_a_line


def test_what_faulthandler_writes_becomes_a_line_with_the_innermost_call_first() -> None:
    file = os.memfd_create("stack")
    try:
        faulthandler.dump_traceback(file, all_threads=False)
        dump = os.pread(file, 100_000, 0)
    finally:
        os.close(file)
    line = in_a_line(dump)
    first, second, *_ = line.split(" < ")
    called = "test_what_faulthandler_writes_becomes_a_line_with_the_innermost_call_first"
    assert first.startswith(f"{called} (unit/supervisor/test_stack.py:")
    assert "/_pytest/python.py:" in second
    assert "more" in line.split(" < ")[-1]
    assert len(line.split(" < ")) == 17


def test_what_is_no_stack_is_passed_over() -> None:
    dump = (
        b"Fatal Python error: Aborted\n\nCurrent thread 0x0 (most recent call first):\n"
        b'  File "/x/mirror/store/rows.py", line 12 in write\n  File "<string>", line 1 in <module>\n\n'
        b"Extension modules: a, b (total: 2)\n"
    )
    assert in_a_line(dump) == "write (mirror/store/rows.py:12) < <module> (<string>:1)"
    assert in_a_line(b"") == ""


@given(st.binary())
def test_whatever_it_is_it_is_one_line(dump: bytes) -> None:
    assert "\n" not in in_a_line(dump)
    assert "\n" not in in_a_line(b'  File "a.py", line 1 in ' + dump)
