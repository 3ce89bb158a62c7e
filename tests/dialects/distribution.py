"""The distribution project's registry itself, from Debian: no fake of it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.real_registry import basic_auth, real_registry
from tests.dialects.dialect import OTHER, PLAIN_SIGNATURE, PUBLIC, SECRET, fallback_tag
from tests.dialects.examples import example
from tests.fakes import content


class Registry2:
    """registry:2 with htpasswd, as a row of the table."""

    title = "registry:2 with htpasswd"
    challenge = "Basic"
    tokens_from = "-"
    quirks = "the real one; plain http on a port of its own, no referrers"
    upstream = "registry.example.net"
    private = "team/private"

    @classmethod
    def configured(cls, secret: str, folder: Path) -> dict[str, Any]:
        """Return the example's fields, with this secret in the file that they name."""
        fields = example(cls.upstream)
        file = folder / "password"
        file.write_text(secret)
        fields["credentials"]["password_file"] = str(file)
        return fields


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Run one that holds the images, and wants a password; return its port."""
    with real_registry(folder) as unguarded:
        unguarded.add_image(Registry2.private, "1.0", PUBLIC)
        unguarded.add_image(Registry2.private, "2.0", OTHER)
        unguarded.add_image(Registry2.private, fallback_tag(PUBLIC), content.index(PLAIN_SIGNATURE))
    with real_registry(folder, basic_auth(folder, "ci", SECRET)) as guarded:
        yield int(guarded.host.rpartition(":")[2])
