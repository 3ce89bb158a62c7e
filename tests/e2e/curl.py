"""curl, with nothing from the machine's own configuration: a client that knows HTTP and no registry."""

import shutil
import subprocess
from pathlib import Path

DEADLINE = 30  # seconds until a request counts as hanging


def curl(url: str, *options: str, output: Path = Path("/dev/null")) -> int:
    """Fetches `url` into `output` and returns the status of the answer; fails if there is none."""
    command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*", "--output", str(output)]
    command += ["--write-out", "%{http_code}", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    return int(done.stdout)


def why_not() -> str | None:
    """Why this machine cannot run curl, or None."""
    return None if shutil.which("curl") else "curl is not installed"
