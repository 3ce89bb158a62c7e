"""Mirrors as their clients see them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from yarl import URL

from mirror.cli.setup.needs import CannotSetUp, Needs
from mirror.cli.setup.site import Site

LOCAL = Site(URL("http://127.0.0.1:5000"), ("docker.io", "ghcr.io"), "docker.io")
PLAIN = Site(URL("http://cache.lan:5000"), ("docker.io", "ghcr.io"), "docker.io")
SECURE = Site(URL("https://cache.example"), ("docker.io", "ghcr.io"), "docker.io")


def contents(needs: Needs) -> dict[PurePosixPath, str]:
    """Return what each file of a client has to be."""
    return {file.path: file.content for file in needs.files}


def merged(needs: Needs, text: str) -> str:
    """Return what a text becomes that is there already; doing it again changes nothing."""
    [file] = needs.files
    once = file.merged(text)
    assert file.merged(once) == once
    return once


def refusal(needs: Needs, text: str) -> str:
    """Return why a text that is there already is left alone: one line."""
    with pytest.raises(CannotSetUp) as raised:
        needs.files[0].merged(text)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message
