"""Skopeo, which hashes what it gets and writes it to a folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.clients.reader import DEADLINE
from benchmarks.content import TAG, Image


def copy(url: str, image: Image, folder: Path) -> float:
    """Return the seconds it takes to copy an image into `folder`, which is removed afterwards."""
    source = f"docker://{urlsplit(url).netloc}/{image.name}:{TAG}"
    command = ["skopeo", "--insecure-policy", "--tmpdir", str(folder), "copy", "--quiet", "--src-tls-verify=false"]
    target = folder / "image"
    folder.mkdir()
    try:
        began = time.monotonic()
        subprocess.run([*command, source, f"dir:{target}"], check=True, timeout=DEADLINE)
        return time.monotonic() - began
    finally:
        shutil.rmtree(folder)
