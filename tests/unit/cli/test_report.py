from __future__ import annotations

import json

import pytest

from mirror.cli.report import document, lines, sized
from mirror.cli.scrub import exit_code
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.scrubbing.scrub import Action, Finding, Leftover, Problem, Report, StoredFile

DIGEST = Digest.of(b"")
REFETCHED = Finding(StoredFile(DIGEST, 1536, Kind.BLOB), Problem.DAMAGED, Action.REFETCHED)
REMOVED = Finding(StoredFile(DIGEST, 7, Kind.MANIFEST), Problem.RESIZED, Action.REMOVED, "docker.io/a/b: silent")
LEFT = Finding(StoredFile(DIGEST, 2**40, Kind.BLOB), Problem.UNEXAMINED, Action.LEFT, "Too many open files")
LEFTOVERS = [Leftover("sha256-0", 5, is_written=True), Leftover("sha256-1", 1024, is_written=False)]


def report(*findings: Finding) -> Report:
    return Report(files=3, size=5 * 2**30, findings=list(findings), seconds=1.25)


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([REFETCHED], 1), ([REMOVED], 1), ([REFETCHED, REMOVED], 1), ([LEFT], 5), ([REFETCHED, LEFT], 5)],
)
def test_the_exit_code_is_a_sum_of_bits(findings: list[Finding], code: int) -> None:
    assert exit_code(report(*findings)) == code


def test_strangers_and_leftovers_are_nothing_bad() -> None:
    assert exit_code(Report(strangers=["notes.txt"], unfinished=LEFTOVERS)) == 0


def test_a_clean_cache_is_one_line() -> None:
    assert lines(report()) == ["3 files, 5.0 GiB, 1.2 s: all good"]


def test_what_was_not_read_is_not_called_good() -> None:
    assert lines(report(), is_fast=True) == ["3 files, 5.0 GiB, 1.2 s: all as long as they should be, none was read"]


def test_findings_are_a_table() -> None:
    assert lines(report(REFETCHED, REMOVED, LEFT)) == [
        "PROBLEM     ACTION     KIND            SIZE  DIGEST",
        f"damaged     refetched  blob         1.5 KiB  {DIGEST}",
        f"resized     removed    manifest         7 B  {DIGEST}  docker.io/a/b: silent",
        f"unexamined  left       blob         1.0 TiB  {DIGEST}  Too many open files",
        "",
        "3 files, 5.0 GiB, 1.2 s: 3 bad, 1 refetched, 1 removed, 1 left",
    ]


def test_every_word_fits_its_column() -> None:
    assert max(len(problem) for problem in Problem) <= 10
    assert max(len(action) for action in Action) <= 9
    assert max(map(len, (Kind.MANIFEST, Kind.BLOB))) <= 8


def test_what_else_is_there_is_told() -> None:
    assert lines(Report(strangers=["notes.txt"], unfinished=LEFTOVERS))[:-1] == [
        "not the mirror's, left alone: notes.txt",
        "unfinished, being written: partial/sha256-0, 5 B",
        "unfinished, the next request goes on with it: partial/sha256-1, 1.0 KiB",
    ]


@pytest.mark.parametrize("name", ["\x1b[2J", "two\nlines", "b\udcffyte", "\u202ertl", "\x85", "é"])
def test_a_name_that_others_chose_is_harmless_to_a_terminal(name: str) -> None:
    [line, _] = lines(Report(strangers=[name]))
    assert line.isascii()
    assert line.isprintable()


def test_the_document_has_all_of_it() -> None:
    told = Report(3, 1543, [REFETCHED, REMOVED], ["b\udcffyte"], LEFTOVERS, 1.23456)
    assert json.loads(json.dumps(document(told))) == {
        "files": 3,
        "bytes": 1543,
        "seconds": 1.235,
        "findings": [
            {
                "digest": str(DIGEST),
                "kind": "blob",
                "bytes": 1536,
                "problem": "damaged",
                "action": "refetched",
                "detail": "",
            },
            {
                "digest": str(DIGEST),
                "kind": "manifest",
                "bytes": 7,
                "problem": "resized",
                "action": "removed",
                "detail": "docker.io/a/b: silent",
            },
        ],
        "strangers": ["b\udcffyte"],
        "unfinished": [
            {"name": "sha256-0", "bytes": 5, "written": True},
            {"name": "sha256-1", "bytes": 1024, "written": False},
        ],
    }


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes_have_the_unit_that_suits_them(size: int, text: str) -> None:
    assert sized(size) == text
