"""The import rules hold, and the check that says so would notice if they did not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PLANTED = [
    ("mirror/proxy/routing.py", "import aiohttp", "the core knows no library and no outer part"),
    ("mirror/proxy/fills/fill.py", "import mirror.store.files", "the core knows no library and no outer part"),
    ("mirror/oci/digest.py", "import mirror.proxy.routing", "oci knows only errors"),
    ("mirror/errors.py", "import mirror.config", "errors import nothing of ours"),
    ("mirror/server/api.py", "import mirror.store.blobs", "the outer parts do not know each other"),
    ("mirror/admin/health.py", "import mirror.store.cache", "admin sees the core and telemetry"),
    ("mirror/app.py", "import mirror.cli", "app does not know the commands"),
    ("mirror/composition/checking.py", "import mirror.cli", "app does not know the commands"),
    ("mirror/app.py", "import mirror.supervisor.crew", "only the commands know the supervisor"),
    ("mirror/upstream/auth/tokens.py", "import aiocache", "each store library has one user, and only the store"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in `folder` by the contracts of its pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PYTHONPATH": str(folder)}
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_import_rules_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("module", "line", "contract"), PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(ROOT / "mirror", tmp_path / "mirror")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / module
    planted.write_text(planted.read_text() + f"\n{line}\n")

    result = lint_imports(tmp_path)

    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout


@pytest.mark.parametrize(
    ("library", "only"), [("diskcache", "mirror/store/rows.py"), ("aiocache", "mirror/store/memory.py")]
)
def test_a_library_with_traps_has_one_user(library: str, only: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "mirror").rglob("*.py")
        if f"import {library}" in path.read_text() or f"from {library}" in path.read_text()
    }
    assert users == {only}
