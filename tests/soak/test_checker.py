"""The checker sees what it is there for: a bad history for each rule, and beside it the good one next to it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.content import digest_of
from tests.soak.checker import check
from tests.soak.history import (
    Chaos,
    Ending,
    Exit,
    History,
    Objection,
    Record,
    Recorder,
    Remains,
    Request,
    Scrubbed,
    TagMoved,
    Terms,
    Transfer,
    Trouble,
)

DATA, OLD, NEW = b"0123456789" * 100, b"the manifest of yesterday", b"the manifest of today"
BLOB, YESTERDAY, TODAY = digest_of(DATA), digest_of(OLD), digest_of(NEW)
CONTENT = {BLOB: DATA, YESTERDAY: OLD, TODAY: NEW}
TERMS = Terms(seed=1, images=1, tag_ttl=3, stale_while_revalidate=2, stale_if_error=10, max_size=2000)
T = 100.0


def request(body: bytes = DATA, **changes: Any) -> Request:
    """A client that got this body of the blob, a hit, within a second."""
    usual = Request(
        t0=T,
        t1=T + 1,
        answered=T + 0.5,
        process="a",
        method="GET",
        repository="library/app",
        kind="blobs",
        reference=BLOB,
        range=None,
        status=200,
        digest=BLOB,
        declared=len(body),
        cache_status="mirror; hit",
        start=0,
        length=len(body),
        received=hashlib.sha256(body).hexdigest(),
        ending=Ending.COMPLETE,
        patience=90,
    )
    return replace(usual, **changes)


def part(body: bytes, start: int, **changes: Any) -> Request:
    """As `request`, for a range."""
    asked = f"bytes={start}-{start + len(body) - 1}"
    return request(body, **{"status": 206, "range": asked, "start": start, **changes})


def parts(*spans: tuple[int, int], **changes: Any) -> Request:
    """As `request`, for several ranges, each with its first byte and the one behind its last."""
    body = b"".join(DATA[start:stop] for start, stop in spans)
    asked = "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    received = [[start, stop - start] for start, stop in spans]
    return request(
        body, **{"status": 206, "range": asked, "parts": received, "length": 999, "declared": 999, **changes}
    )


def tag(body: bytes, **changes: Any) -> Request:
    """A client that asked for a tag and got this manifest."""
    return request(body, **{"kind": "manifests", "reference": "latest", "digest": digest_of(body), **changes})


def refusal(status: int = 502, **changes: Any) -> Request:
    """A client that got an error."""
    shown = {"status": status, "digest": None, "cache_status": "mirror; detail=upstream-failed", **changes}
    return request(b"", **shown)


def transfer(**changes: Any) -> Transfer:
    """All of the blob from upstream, within a second."""
    usual = Transfer(T, T + 1, "a", "GET", "library/app", "blobs", BLOB, 200, 0, len(DATA), None)
    return replace(usual, **changes)


def spoiled(fault: str, **changes: Any) -> Transfer:
    return transfer(fault=fault, **changes)


def trouble(what: Trouble, t0: float = T, t1: float = T, **details: Any) -> Chaos:
    return Chaos(t0, t1, what, **details)


def flipped(body: bytes, bit: int) -> bytes:
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


MOVES = (TagMoved(0, "library/app", "latest", YESTERDAY), TagMoved(T - 5, "library/app", "latest", TODAY))
FLIP = trouble(Trouble.FLIP, T - 1, digest=BLOB, bit=8)
FLIPPED_MANIFEST = trouble(Trouble.FLIP, T - 1, digest=TODAY, bit=8)
RIGHT_FILE = Remains(f"blobs/sha256/{BLOB[7:]}", len(DATA), BLOB[7:])
FLIPPED_FILE = replace(RIGHT_FILE, sha256=digest_of(flipped(DATA, 8))[7:])
FLIPPED_PARTS = hashlib.sha256(flipped(DATA, 8)[0:9] + DATA[20:30]).hexdigest()
CUT: dict[str, Any] = {"ending": Ending.CUT, "declared": len(DATA)}
STALE: dict[str, Any] = {"cache_status": "mirror; fwd=stale; detail=upstream-unavailable"}
SPARED: dict[str, dict[str, Any]] = {
    f"the tag of long ago, {status}": {"cache_status": f"mirror; {status}"}
    for status in ("fwd=stale; detail=limit-reached", "fwd=stale; detail=saving-pulls", "hit; detail=saving-pulls")
}


def verdict(*records: Record) -> list[str]:
    history = History(TERMS)
    history.add(*records)
    return [violation.partition(":")[0] for violation in check(history, CONTENT)]


GOOD: dict[str, tuple[Record, ...]] = {
    "a whole body": (request(),),
    "a body without a length": (request(declared=None),),
    "a part": (part(DATA[10:20], 10),),
    "the last bytes": (part(DATA[-7:], len(DATA) - 7, range="bytes=-7"),),
    "the rest": (part(DATA[40:], 40, range="bytes=40-"),),
    "several parts": (parts((0, 9), (20, 30)),),
    "several parts, cut": (trouble(Trouble.KILL, T, T + 1, process="a"), parts((0, 9), (20, 30), ending=Ending.CUT)),
    "several parts with a flipped bit": (FLIP, parts((0, 9), (20, 30), received=FLIPPED_PARTS)),
    "several ranges that were ignored": (request(range="bytes=0-8,20-29"),),
    "a range that was ignored": (request(range="bytes=3-4"),),
    "a HEAD": (request(b"", method="HEAD", declared=len(DATA)),),
    "a HEAD while upstream lies": (spoiled("truncated"), request(b"", method="HEAD", declared=3)),
    "a client that left": (request(DATA[:50], ending=Ending.LEFT, declared=len(DATA)),),
    "a flipped bit": (FLIP, request(flipped(DATA, 8))),
    "a part with a flipped bit": (FLIP, part(flipped(DATA, 8)[1:9], 1)),
    "the right bytes in spite of a flip": (FLIP, request()),
    "wrong bytes, but cut": (spoiled("wrong"), request(b"ouch", **CUT)),
    "the tag of now": (*MOVES, tag(NEW)),
    "the tag of before, within its TTL": (*MOVES, tag(OLD, t0=T - 3, t1=T - 2)),
    "the tag of long ago, marked": (*MOVES, tag(OLD, **STALE)),
    **{name: (*MOVES, tag(OLD, **spared)) for name, spared in SPARED.items()},
    "the tag that a stopped mirror knew": (*MOVES, trouble(Trouble.STOP, T - 5, T, process="a"), tag(OLD)),
    "a tag whose look-up was under way": (
        *MOVES,
        transfer(t0=T - 6, kind="manifests", reference=YESTERDAY),
        tag(OLD),
    ),
    "a tag that moves meanwhile": (*MOVES, tag(NEW, t0=T - 6, t1=T - 4)),
    "a long body": (request(t1=T + 60),),
    "a mirror that stood still": (
        trouble(Trouble.STOP, T, T + 10, process="a"),
        request(answered=T + 38, t1=T + 40),
    ),
    "an error of a mirror that died": (trouble(Trouble.KILL, T, T + 1, process="a"), request(DATA[:5], **CUT)),
    "an error of a mirror that restarts": (trouble(Trouble.RESTART, T, T + 1, process="a"), request(DATA[:5], **CUT)),
    "an error after another request was throttled": (
        spoiled("status", reference=TODAY, t0=T - 3, t1=T - 2, status=429, sent=0),
        refusal(),
    ),
    "an error in an outage": (trouble(Trouble.OUTAGE, T - 8, T - 6), refusal()),
    "an error after a spoiled answer": (spoiled("status", t0=T - 3, t1=T - 2, sent=0), refusal()),
    "an error of a tag, its HEAD spoiled": (
        spoiled("status", kind="manifests", reference="latest", method="HEAD", sent=0),
        refusal(kind="manifests", reference="latest"),
    ),
    "an error of what a dead writer left": (spoiled("wrong", t0=T - 50, t1=T - 49), request(b"ouch", **CUT)),
    "one transfer after the other": (transfer(), transfer(t0=T + 1, t1=T + 2, process="b")),
    "one that goes on": (transfer(sent=100), transfer(start=100, sent=900, process="b")),
    "one for a dead writer": (
        transfer(t1=T + 2, sent=300),
        trouble(Trouble.KILL, T + 1, T + 3, process="a"),
        transfer(t0=T + 1.1, t1=T + 4, start=200, sent=800, process="b"),
    ),
    "two that nobody keeps": (request(cache_status="mirror; fwd=miss"), transfer(), transfer(process="b")),
    "two while the disk is full": (trouble(Trouble.FULL, T, T + 1), transfer(), transfer(process="b")),
    "two HEADs": (transfer(method="HEAD", sent=0), transfer(method="HEAD", sent=0)),
    "a file": (RIGHT_FILE, Remains("run/room", 0, "")),
    "a flipped file, found": (FLIP, FLIPPED_FILE, Scrubbed(1, [BLOB], []), replace(RIGHT_FILE, scrubbed=True)),
    "a clean scrub": (RIGHT_FILE, Scrubbed(0, [], []), replace(RIGHT_FILE, scrubbed=True)),
    "a stop in order": (Exit(T, "a", 0, is_wanted=True),),
}

BAD: dict[str, tuple[str, tuple[Record, ...]]] = {
    "wrong bytes": ("a complete body with wrong bytes", (request(flipped(DATA, 8)),)),
    "a bit flipped later": (
        "a complete body with wrong bytes",
        (trouble(Trouble.FLIP, T + 2, digest=BLOB, bit=8), request(flipped(DATA, 8))),
    ),
    "another bit than the flipped one": ("a complete body with wrong bytes", (FLIP, request(flipped(DATA, 9)))),
    "a flipped manifest": (
        "a complete body with wrong bytes",
        (*MOVES, FLIPPED_MANIFEST, tag(flipped(NEW, 8), digest=TODAY)),
    ),
    "wrong bytes in a part": ("a complete body with wrong bytes", (part(DATA[11:21], 10),)),
    "wrong bytes, although upstream sent them": ("a complete body with wrong bytes", (spoiled("wrong"), part(b"x", 1))),
    "wrong bytes in one of several parts": (
        "a complete body with wrong bytes",
        (parts((0, 9), (20, 30), received=FLIPPED_PARTS),),
    ),
    "a part that is missing": (
        "a complete body of another length than the content",
        (parts((0, 9), range="bytes=0-8,20-29"),),
    ),
    "parts in another order": (
        "a complete body of another length than the content",
        (parts((20, 30), (0, 9), range="bytes=0-8,20-29"),),
    ),
    "several parts, shorter than declared": (
        "a complete body of another length than declared",
        (parts((0, 9), (20, 30), length=998),),
    ),
    "a short body": ("a complete body of another length than the content", (request(DATA[:-1]),)),
    "a body with more behind it": ("a complete body of another length than the content", (request(DATA + b"!"),)),
    "more than was declared": ("a complete body of another length than declared", (request(declared=999),)),
    "another part": (
        "a complete body of another length than the content",
        (part(DATA[10:20], 10, range="bytes=10-29"),),
    ),
    "a HEAD that lies": ("a HEAD with another length", (request(b"", method="HEAD", declared=3),)),
    "another blob": ("an answer for another digest", (request(NEW, digest=TODAY),)),
    "a cut body with wrong bytes": (
        "a cut body that begins with wrong bytes",
        (trouble(Trouble.KILL, T, T + 1, process="a"), request(b"ouch", **CUT)),
    ),
    "a tag of long ago": ("a tag answered what it was not", (*MOVES, tag(OLD))),
    "a HEAD of a tag of long ago": (
        "a tag answered what it was not",
        (*MOVES, tag(b"", method="HEAD", digest=YESTERDAY, declared=len(OLD))),
    ),
    "a tag whose look-up was under way in another mirror": (
        "a tag answered what it was not",
        (*MOVES, transfer(t0=T - 6, kind="manifests", reference=YESTERDAY, process="b"), tag(OLD)),
    ),
    "a tag too old to be stale": (
        "a tag answered what it was not",
        (*MOVES, tag(OLD, t0=T + 50, t1=T + 51, answered=T + 51, **STALE)),
    ),
    **{
        f"{name}, and too old": (
            "a tag answered what it was not",
            (*MOVES, tag(OLD, t0=T + 50, t1=T + 51, answered=T + 51, **spared)),
        )
        for name, spared in SPARED.items()
    },
    "a tag that it becomes later": ("a tag answered what it was not", (*MOVES, tag(NEW, t0=T - 7, t1=T - 6))),
    "a tag revalidated, yet old": (
        "a tag answered what it was not",
        (*MOVES, tag(OLD, cache_status="mirror; fwd=stale; fwd-status=200")),
    ),
    "no end": ("no end within 90 s", (request(DATA[:9], ending=Ending.HUNG, t1=T + 90),)),
    "a late head": ("no answer for 31 s", (request(answered=T + 31, t1=T + 32),)),
    "an error from nowhere": ("an error for no reason", (refusal(),)),
    "a cut from nowhere": ("an error for no reason", (request(DATA[:9], **CUT),)),
    "no answer from a mirror that runs": (
        "an error for no reason",
        (request(b"", status=None, answered=None, digest=None, ending=Ending.UNANSWERED),),
    ),
    "an error because another mirror died": (
        "an error for no reason",
        (trouble(Trouble.KILL, T, T + 1, process="b"), request(DATA[:9], **CUT)),
    ),
    "an error because another mirror restarts": (
        "an error for no reason",
        (trouble(Trouble.RESTART, T, T + 1, process="b"), request(DATA[:9], **CUT)),
    ),
    "an error because a file is gone": ("an error for no reason", (trouble(Trouble.REMOVE, digest=BLOB), refusal(503))),
    "an error long after an outage": ("an error for no reason", (trouble(Trouble.OUTAGE, T - 30, T - 20), refusal())),
    "an error after another blob was spoiled": ("an error for no reason", (spoiled("cut", reference=TODAY), refusal())),
    "a healthy disk to blame": (
        "an error for no reason",
        (trouble(Trouble.OUTAGE), refusal(503, cache_status="mirror; detail=store-failed")),
    ),
    "a cut of a blob that was well since": (
        "an error for no reason",
        (
            spoiled("wrong", t0=T - 50, t1=T - 49),
            request(t0=T - 40, answered=T - 40, t1=T - 39),
            request(DATA[:9], **CUT),
        ),
    ),
    "not found": ("an answer that is not true", (trouble(Trouble.OUTAGE), refusal(404))),
    "a bug": ("an answer that is not true", (trouble(Trouble.OUTAGE), refusal(500))),
    "twice at once": ("the same bytes were fetched twice at once", (transfer(), transfer(process="b"))),
    "twice at once, in part": (
        "the same bytes were fetched twice at once",
        (transfer(), transfer(t0=T + 0.1, t1=T + 2, start=990, sent=10)),
    ),
    "twice at once, a death before": (
        "the same bytes were fetched twice at once",
        (trouble(Trouble.KILL, T - 9, T - 8, process="b"), transfer(), transfer()),
    ),
    "twice at once, the other's death": (
        "the same bytes were fetched twice at once",
        (trouble(Trouble.KILL, T + 0.1, T + 1, process="b"), transfer(), transfer(t0=T + 0.2, process="b")),
    ),
    "a damaged file": ("a committed file with wrong bytes", (FLIPPED_FILE,)),
    "a flipped file that was scrubbed": (
        "a committed file with wrong bytes",
        (FLIP, replace(FLIPPED_FILE, scrubbed=True)),
    ),
    "a scrub that finds nothing": (
        f"a scrub that should have found ['{BLOB[:6]}",
        (FLIP, FLIPPED_FILE, Scrubbed(0, [], [])),
    ),
    "a scrub that finds too much": ("a scrub that should have found []", (RIGHT_FILE, Scrubbed(1, [BLOB], []))),
    "a scrub that fails": ("a scrub that should have found []", (RIGHT_FILE, Scrubbed(4, [], []))),
    "a scrub that sees strangers": ("a scrub that knows not its own", (Scrubbed(0, [], ["run/room"]),)),
    "a short file": ("a committed file with wrong bytes", (Remains(f"blobs/sha256/{BLOB[7:]}", 9, BLOB[7:]),)),
    "a stranger among the blobs": ("a stranger in the cache folder", (Remains("blobs/sha256/notes.txt", 3, ""),)),
    "a stranger beside them": ("a stranger in the cache folder", (Remains("core", 3, ""),)),
    "too much": (
        "the cache has 3000 bytes of 2000",
        (RIGHT_FILE, RIGHT_FILE, RIGHT_FILE),
    ),
    "a mirror that crashed": ("a mirror ended badly", (Exit(T, "a", None, is_wanted=False),)),
    "a stop that went wrong": ("a mirror ended badly", (Exit(T, "a", 1, is_wanted=True),)),
    "a strange request": ("an unexpected request", (Objection("GET /etc/passwd"),)),
}


@pytest.mark.parametrize("records", GOOD.values(), ids=GOOD)
def test_a_history_that_keeps_every_promise_passes(records: tuple[Record, ...]) -> None:
    assert verdict(*records) == []


@pytest.mark.parametrize(("expected", "records"), BAD.values(), ids=BAD)
def test_a_history_that_breaks_a_promise_is_caught(expected: str, records: tuple[Record, ...]) -> None:
    assert verdict(*records) == [expected]


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    records: list[Record] = [request(), transfer(), MOVES[0], FLIP, Exit(T, "a", 0, True), Objection("?")]
    records += [parts((0, 9), (20, 30))]
    records += [Remains("run/room", 0, ""), Scrubbed(1, [BLOB], [])]
    recorder = Recorder(tmp_path / "history.jsonl")
    for record in (TERMS, *records):
        recorder.note(record)
    recorder.close()
    written = History(TERMS)
    written.add(*records)
    assert History.read(tmp_path / "history.jsonl") == written
