"""The mirrors under test: processes on one cache folder, each in front of a registry address of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.mirror_process import MirrorProcess
from tests.soak.history import Exit, Recorder, Scrubbed, Terms


class Mirror:
    """One mirror; it can be killed and started again any number of times."""

    def __init__(self, name: str, config: Mapping[str, object], folder: Path, recorder: Recorder) -> None:
        self.name = name
        self._process = MirrorProcess(config, folder / name)
        self._recorder = recorder

    @property
    def url(self) -> str:
        return self._process.url

    async def start(self) -> None:
        """Return once it serves; raises ServiceError if it does not."""
        await asyncio.to_thread(self._process.start)

    async def kill(self) -> None:
        """End it as a crash would; that it had ended by itself is noted."""
        self.note_exit()
        await asyncio.to_thread(self._process.kill)

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def note_exit(self) -> None:
        """Note it if the mirror has ended by itself."""
        if not self._process.is_running:
            self._exited(None, is_wanted=False)

    async def stop(self) -> None:
        """End it in order, and note how that went."""
        if self._process.is_running:
            self._exited(await asyncio.to_thread(self._process.stop), is_wanted=True)
        else:
            self.note_exit()

    def scrub(self) -> Scrubbed:
        """Let the command verify and mend the cache folder; blocks."""
        config = self._process.directory / "config.yaml"
        command = [sys.executable, "-m", "mirror", "scrub", "--json", "--config", str(config)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        report = json.loads(done.stdout)
        return Scrubbed(done.returncode, [one["digest"] for one in report["findings"]], report["strangers"])

    def _exited(self, code: int | None, *, is_wanted: bool) -> None:
        now = asyncio.get_running_loop().time()
        said = "" if code == 0 else self._process.log_text()[-2000:]
        self._recorder.note(Exit(now, self.name, code, is_wanted, said))


class Fleet:
    """All mirrors, and the folder they share."""

    def __init__(self, endpoints: Mapping[str, str], terms: Terms, folder: Path, recorder: Recorder) -> None:
        self.disk = folder / "disk"
        self.cache = self.disk / "cache"
        self.mirrors = [
            Mirror(name, _configuration(endpoint, self.cache, terms), folder, recorder)
            for name, endpoint in endpoints.items()
        ]

    async def start(self) -> None:
        """Return once all of them serve."""
        await asyncio.gather(*(mirror.start() for mirror in self.mirrors))

    async def stop(self) -> None:
        """End all of them in order."""
        await asyncio.gather(*(mirror.stop() for mirror in self.mirrors))


def _configuration(endpoint: str, cache: Path, terms: Terms) -> dict[str, object]:
    return {
        "drain_timeout": "20s",
        "cache": {"path": str(cache), "max_size": f"{terms.max_size // 1024}KiB", "min_free": "1MiB"},
        "freshness": {
            "tag_ttl": f"{terms.tag_ttl:.0f}s",
            "stale_while_revalidate": f"{terms.stale_while_revalidate:.0f}s",
            "stale_if_error": f"{terms.stale_if_error:.0f}s",
            "negative_ttl": "2s",
        },
        "scrub": {"every": "1m"},
        "upstreams": {"docker.io": {"endpoints": [endpoint], "private_network": True}},
    }
