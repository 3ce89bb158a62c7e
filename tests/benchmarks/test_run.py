"""The harness measures, end to end, at tiny sizes: what it tells of speed means nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m benchmarks` to its end."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_row_is_measured_told_and_leaves_nothing_but_content(tmp_path: Path) -> None:
    written = tmp_path / "results.json"
    home = tmp_path / "home"

    done = benchmarks(
        "cold-pull-8x8", "--quick", "--peers", "mirror,direct", "--home", str(home), "--json", str(written)
    )

    assert done.returncode == 0, done.stderr
    assert "| cold-pull-8x8 | s | " in done.stdout
    (row,) = json.loads(written.read_text())["rows"]
    (told,) = row["rounds"]
    assert set(told) == {"mirror", "direct"}
    assert row["commit"]
    assert row["failures"] == []
    assert [path.name for path in home.iterdir()] == ["content"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tepid",), "there is no row tepid"),
        (("--peers", "mirror,varnish"), "there is no peer varnish"),
        (("--rounds", "0"), "--rounds is 1 at least"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: tuple[str, ...], complaint: str) -> None:
    done = benchmarks(*arguments)

    assert done.returncode == 2
    assert complaint in done.stderr


def test_every_row_is_explained() -> None:
    rows = [line.split()[0] for line in benchmarks("--list").stdout.splitlines()]
    page = (ROOT / "docs/performance.md").read_text()

    assert len(rows) == 17
    assert [row for row in rows if f"`{row}`" not in page] == []


@pytest.mark.parametrize("kind", ["tag", "blob"])
def test_the_hot_spots_are_the_mirrors_own(kind: str) -> None:
    command = [sys.executable, "-m", "benchmarks.hot_spots", kind, "--times", "3000"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "mirror.server" in done.stdout
    assert "hot_path.answered" not in done.stdout
