"""A process that has everything imported and forks a child for each task, so that a death costs milliseconds.

It reads tasks from its input, a line of JSON each, and answers with how the child ended and what it returned.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

_CAPABILITIES = 0x20080522  # the third version of the structure
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: `status` as of subprocess, negative for a signal; `result` if it came to its end."""

    status: int
    result: Any = None

    @property
    def was_killed(self) -> bool:
        """Tell whether it died on the way."""
        return self.status == -9

    def had_fault(self, at: int) -> bool:
        """Tell whether it came as far as this step."""
        return self.was_killed or at <= len(self.result["steps"])


class Zygote:
    """The process, as its parent sees it; one task at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crash.zygote"]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, task: str, **arguments: Any) -> None:
        """Begin a task, the name of a coroutine function in `tests.crash.tasks`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([task, arguments]) + "\n")
        self._process.stdin.flush()

    def wait(self) -> Outcome:
        """Return how the task ended; fails with its traceback if it raised."""
        assert self._process.stdout is not None
        status, result = json.loads(self._process.stdout.readline())
        assert status in (0, -9), result
        return Outcome(status, result)

    def run(self, task: str, **arguments: Any) -> Outcome:
        """Do both."""
        self.start(task, **arguments)
        return self.wait()

    def close(self) -> None:
        """End the process."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def _drop_privileges() -> None:
    """Obey the modes of files, which root does not: a mirror does not run as root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "the capabilities could not be dropped")


def _perform(task: str, arguments: dict[str, Any]) -> tuple[int, Any]:
    try:
        _drop_privileges()
        function = getattr(importlib.import_module("tests.crash.tasks"), task)
        return 0, uvloop.run(function(**arguments))
    except BaseException:
        return 1, traceback.format_exc()


def _fork(task: str, arguments: dict[str, Any]) -> tuple[int, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        status, result = _perform(task, arguments)
        with os.fdopen(writing, "w") as answer:
            json.dump(result, answer)
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        result = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, json.loads(result) if result else None


def _main() -> None:
    importlib.import_module("tests.crash.tasks")
    for line in sys.stdin:
        print(json.dumps(_fork(*json.loads(line))), flush=True)


if __name__ == "__main__":
    _main()
