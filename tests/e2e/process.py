"""A service as a child process: started until ready, frozen and thawed, stopped with all its children."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from .http_client import ask

START_DEADLINE = 60.0  # seconds until a service must be ready; far more than any of them takes
STOP_DEADLINE = 45.0  # seconds from SIGTERM to SIGKILL; more than the mirror's own drain time
QUIET_PORTS = (15_000, 32_000)  # below those that Linux gives to outgoing connections
SETTLED = 0.4  # seconds without a new line after which a log is whole; the mirror holds lines back for 0.1
TAIL = 4000  # characters of a log shown when a service fails


class ServiceError(Exception):
    """A service did not start; the message ends with the tail of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, nor is given to a connection while a service restarts."""
    while True:
        port = random.randrange(*QUIET_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answers(url: str) -> bool:
    """Whether an HTTP request gets any answer below 500."""
    try:
        return ask("GET", url, timeout=2).status < 500
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Returns once the condition holds; raises TimeoutError when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds:.0f} seconds")
        time.sleep(0.02)


class Service:
    """One program in its own process group; its output is appended to `log`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self._is_ready = is_ready
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None and not self._has_ended()

    @property
    def pid(self) -> int:
        """The number of the running process, which is also its group's."""
        return self._started.pid

    def start(self) -> None:
        """Returns once the service is ready; raises ServiceError if it ends or hangs before."""
        assert not self.is_running, f"{self.command[0]} runs already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**clean_environment(), **self._environment},
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self) -> int:
        """Asks the service to end, insists after a while, and returns its exit code."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        return self._reap(STOP_DEADLINE)

    def kill(self) -> None:
        """Ends the whole group at once, as a crash would."""
        self._reap(0)

    def freeze(self) -> None:
        """Makes the service hang: connections open, and nothing is ever answered."""
        self._signal(signal.SIGSTOP)
        # A thread on the other processor may have an answer left to give.
        wait_until(lambda: _thread_states(self.pid) == {"T"})

    def thaw(self) -> None:
        """Lets a frozen service go on."""
        self._signal(signal.SIGCONT)

    def log_text(self) -> str:
        """All that the service has written, earlier runs included."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def settled_log(self) -> str:
        """The log once it grows no more: services write some lines after they have answered."""
        before, now = "", self.log_text()
        while before != now:
            time.sleep(SETTLED)
            before, now = now, self.log_text()
        return now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while not self._is_ready():
            late = time.monotonic() > deadline
            if late or not self.is_running:
                code = self._reap(0)
                reason = "was not ready in time" if late else f"ended with {code} at its start"
                raise ServiceError(f"{self.command[0]} {reason}:\n{self.log_text()[-TAIL:]}")
            time.sleep(0.02)

    def _reap(self, patience: float) -> int:
        deadline = time.monotonic() + patience
        while self.is_running and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)  # the process itself if it is late, and what it has left in its group
        return self._started.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Until the process is waited for, its number cannot belong to anybody else.
        if self._started.returncode is None:
            os.killpg(self.pid, number)

    def _has_ended(self) -> bool:
        """Looks without waiting for the process, which would give its number back."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.command[0]} was not started"
        return self._process


def _thread_states(pid: int) -> set[str]:
    """What the threads of a process are doing, as the kernel abbreviates it (proc(5))."""
    states = set()
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has just ended
            states.add(file.read_text().rpartition(")")[2].split()[0])
    return states


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead a service elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("MIRROR_")
    }
