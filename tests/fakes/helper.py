"""A docker credential helper: a program that speaks the protocol, and misbehaves if it is told to."""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """#!{python} -S
import json, os, pathlib, subprocess, sys, time
script = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())
server = "" if script["deaf"] else sys.stdin.read()
with open(pathlib.Path(__file__).with_suffix(".calls"), "a") as calls:
    print(json.dumps([sys.argv[1:], server, sorted(os.environ), os.getpid()]), file=calls)
if script["forks"]:
    away = subprocess.Popen(["sleep", "60"], start_new_session=True)
    pathlib.Path(__file__).with_suffix(".away").write_text(str(away.pid))
if script["hangs"]:
    subprocess.run(["sleep", "60"])
answer = script["secrets"].get(server.strip(), script["answer"])
if answer is None:
    print("credentials not found in native keychain")
    sys.exit(1)
sys.stderr.write("canary on stderr")
sys.stdout.write(answer if isinstance(answer, str) else json.dumps(answer))
"""


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments, input, the names in the environment, and the process of one call."""

    arguments: list[str]
    asked: str
    environment: list[str]
    process: int


class FakeHelper:
    """`docker-credential-<name>` in a folder of its own; attributes to set with `behave`."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        self.folder = folder
        self._file = folder / f"docker-credential-{name}"
        self._file.write_text(_PROGRAM.format(python=sys.executable))
        self._file.chmod(0o755)
        self.secrets: dict[str, dict[str, str]] = {}
        self.behave()

    def behave(self, *, answer: object = None, hangs: bool = False, deaf: bool = False, forks: bool = False) -> None:
        """Answer `answer` to whoever has no secret; hang; do not read what is asked; or leave somebody behind."""
        script = {"secrets": self.secrets, "answer": answer, "hangs": hangs, "deaf": deaf, "forks": forks}
        self._file.with_suffix(".json").write_text(json.dumps(script))

    def give(self, server: str, username: str, secret: str) -> None:
        """Answer with this credential for this registry."""
        self.secrets[server] = {"ServerURL": server, "Username": username, "Secret": secret}
        self.behave()

    @property
    def calls(self) -> list[Call]:
        """What each call was like, in order."""
        file = self._file.with_suffix(".calls")
        return [Call(*json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def end_what_is_away(self) -> None:
        """End what was left behind, in a session of its own and with the pipes of the last call; it must be there."""
        process = self._file.with_suffix(".away").read_text()
        state, *_ = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        assert state != "Z"
        os.kill(int(process), signal.SIGKILL)

    def left(self) -> list[str]:
        """What is still there of all that was started by these calls: each of them has a session of its own."""
        sessions = {str(call.process) for call in self.calls}
        found = []
        for process in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                name, _, rest = process.read_text().rpartition(")")
                state, _, _, session = rest.split()[:4]
                found += [name] if session in sessions and state != "Z" else []
        return found
