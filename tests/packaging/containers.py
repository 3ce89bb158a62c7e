"""Containers of the image under test, run by a Docker daemon of the tests' own on the host's network."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tests.e2e.docker import DockerDaemon

IMAGE = "mirror:test"
# What README and the compose file say, and a network that a machine without iptables has.
HARDENED = ("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


class Container:
    """One container; it is gone when its block ends."""

    def __init__(self, daemon: "Containers", name: str) -> None:
        self._daemon = daemon
        self.name = name

    @property
    def health(self) -> str:
        """What the daemon makes of the health checks: starting, healthy or unhealthy."""
        return str(self._state["Health"]["Status"])

    @property
    def exit_code(self) -> int:
        """What the stopped container's process ended with."""
        assert not self._state["Running"]
        return int(self._state["ExitCode"])

    @property
    def log(self) -> str:
        """All that the container has written so far."""
        done = self._daemon.docker("logs", self.name)
        return done.stdout + done.stderr

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container, as its user."""
        return self._daemon.docker("exec", self.name, *command)

    def stop(self) -> None:
        """Sends SIGTERM and waits for the end."""
        self._daemon.docker("stop", "--time=40", self.name, check=True)

    @property
    def _state(self) -> dict[str, Any]:
        found = self._daemon.docker("container", "inspect", self.name, check=True).stdout
        return cast(dict[str, Any], json.loads(found)[0]["State"])


class Containers(DockerDaemon):
    """A daemon that has one image, and no registry to ask."""

    def __init__(self, directory: Path, archive: Path) -> None:
        super().__init__(directory, "http://127.0.0.1:1")
        self._archive = archive

    def start(self) -> None:
        """Returns once the image can be run."""
        super().start()
        self.docker("load", f"--input={self._archive}", check=True)

    def image(self) -> dict[str, Any]:
        """The configuration of the image: its user, labels, health check."""
        found = self.docker("image", "inspect", IMAGE, check=True).stdout
        return cast(dict[str, Any], json.loads(found)[0]["Config"])

    def run(
        self,
        *command: str,
        volume: str = "cache",
        environment: Mapping[str, str] | None = None,
        entrypoint: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command of the image to its end, hardened as the README says."""
        options = ["--rm", *_options(volume, environment)]
        if entrypoint:
            options.append(f"--entrypoint={entrypoint}")
        return self.docker("run", *options, IMAGE, *command)

    @contextmanager
    def running(self, volume: str, environment: Mapping[str, str]) -> Iterator[Container]:
        """Starts the image's own command, hardened as the README says."""
        name = f"mirror-{volume}"
        health = ("--health-interval=200ms", "--health-retries=1", "--health-start-period=30s")
        options = (f"--name={name}", *health, *_options(volume, environment))
        self.docker("run", "--detach", *options, IMAGE, check=True)
        try:
            yield Container(self, name)
        finally:
            self.docker("rm", "--force", name)

    def docker(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs the docker client; fails with its words if `check` says so."""
        done = self._docker(*arguments)
        assert not (check and done.returncode), done.stderr
        return done

    def _configuration(self) -> dict[str, object]:
        # The quickest driver there is on this machine; copies for each container would take long.
        return {key: value for key, value in super()._configuration().items() if key != "storage-driver"}


def _options(volume: str, environment: Mapping[str, str] | None) -> list[str]:
    given = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    return [*HARDENED, f"--volume={volume}:/var/cache/mirror", *given]
