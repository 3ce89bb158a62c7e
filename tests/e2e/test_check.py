"""`mirror check` against Debian's docker-registry: behind a token service, behind a password, gone in two ways."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .hub import Hub
from .images import Image
from .process import clean_environment
from .registry import READER, RealRegistry

DEADLINE = 60  # seconds until the command counts as hanging


def check(folder: Path, upstream: Mapping[str, object], *arguments: str) -> tuple[int, dict[str, str], str]:
    """Runs the command; returns its exit code, how each step went, and what it says of the failure."""
    file = folder / "check.yaml"
    file.write_text(json.dumps({"upstreams": {"docker.io": upstream}}))
    done = subprocess.run(
        [sys.executable, "-m", "mirror", "check", "--config", file, "--json", *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stderr == ""
    [endpoint] = json.loads(done.stdout)["endpoints"]
    return done.returncode, endpoint["steps"], (endpoint["failure"] or {}).get("message", "")


def test_a_registry_with_a_token_service_that_goes_away(hub: Hub, small: Image, tmp_path: Path) -> None:
    hub.registry.fill("library/small", "latest", small)
    code, steps, _ = check(tmp_path, hub.upstream, "small")
    assert code == 0
    assert steps == {"dns": "-", "connect": "ok", "tls": "-", "challenge": "ok", "token": "ok", "head": "ok"}
    hub.tokens.stop()
    code, steps, message = check(tmp_path, hub.upstream, "small")
    assert (code, steps["token"]) == (1, "failed")
    assert f"{hub.tokens.url} cannot be reached: connection refused" in message
    hub.registry.freeze()
    code, steps, message = check(tmp_path, hub.upstream, "small", "--timeout", "1s")
    assert (code, steps["challenge"]) == (1, "failed")
    assert f"{hub.registry.url} gave no answer within 1 s" in message


def test_a_registry_with_a_password(private_registry: RealRegistry, tmp_path: Path) -> None:
    password = tmp_path / "password"
    credentials = {"username": READER.username, "password_file": str(password)}
    upstream = {"endpoints": private_registry.url, "private_network": True, "credentials": credentials}
    password.write_text(READER.password)
    assert check(tmp_path, upstream)[0] == 0
    password.write_text("wrong")
    code, steps, message = check(tmp_path, upstream)
    assert (code, steps["head"]) == (1, "failed")
    assert "look at upstreams.docker.io.credentials" in message
