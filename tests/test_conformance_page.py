"""docs/conformance.md and the tests of its clauses name each other, without gaps."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"

LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "table", "MUST, SHOULD"}


@dataclass(frozen=True, slots=True)
class Row:
    """A clause: its name, how strongly the spec asks, for what, and what holds it, or why it does not apply."""

    clause: str
    level: str
    asks: str
    held_by: str

    @property
    def file(self) -> str | None:
        """The file of its test, None for a reason."""
        return self.held_by if re.fullmatch(r"test_\w+\.py", self.held_by) else None

    @property
    def test(self) -> str:
        """What its test has to be called."""
        return f"test_{self.clause.replace('-', '_')}"


def rows() -> list[Row]:
    """The rows of all tables of the page."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [Row(*(cell.strip().strip("`") for cell in line.strip("|").split(" | "))) for line in lines]


def held() -> set[tuple[str, str]]:
    """File and name of all tests of clauses."""
    return {
        (path.name, node.name)
        for path in TESTS.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_clause_has_a_test_of_its_name_or_a_reason() -> None:
    wanted = {(row.file, row.test) for row in rows() if row.file is not None}
    assert wanted - held() == set()
    reasons = [row.held_by for row in rows() if row.file is None]
    assert all(len(reason) > 20 and reason.endswith(".") for reason in reasons), reasons


def test_every_test_has_a_clause() -> None:
    assert held() - {(row.file, row.test) for row in rows()} == set()


def test_every_clause_is_there_once_with_a_level() -> None:
    assert [clause for clause, times in Counter(row.clause for row in rows()).items() if times > 1] == []
    assert {row.level for row in rows()} <= LEVELS
    assert all(row.asks.endswith(".") for row in rows())
