"""Has `mirror setup` tell a client where its mirror is, in the folder that the client takes for the root."""

import subprocess
import sys
from pathlib import Path

from .process import clean_environment

DEADLINE = 60  # seconds until the command counts as hanging


class SetupError(Exception):
    """`mirror setup` failed; the message is what it printed."""


def set_up(client: str, root: Path, *options: str) -> str:
    """Writes what a client needs below `root`; returns the command, as an operator would type it."""
    root.mkdir(exist_ok=True)
    arguments = ["setup", client, *options, "--write", "--root", str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "mirror", *arguments],
        cwd=root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        raise SetupError(f"mirror {' '.join(arguments)}: {done.stderr.strip()}")
    return f"mirror {' '.join(arguments)}"
