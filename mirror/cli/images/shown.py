"""What the mirror says of one image, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mirror.cli.images.tables import table
from mirror.cli.images.times import ago, is_ahead, is_over, left
from mirror.cli.report import sized


def shown(document: Any) -> list[str]:
    """Return what a pull would be and why, how long things last, and the parts as a table."""
    facts = [
        ("digest", document["digest"]),
        ("type", document["media_type"]),
        ("pull", f"{document['state']}: {document['reason']}"),
        *_validity(document),
        ("used", f"{ago(document['used_at'])}, {_keeping(document)}"),
        ("size", f"{sized(document['bytes'])} on disk, {sized(document['unshared_bytes'])} of it in no other image"),
    ]
    lines = [document["image"], *table(facts, "  ")]
    parts = [*_parts(document["parts"], 0), *_parts(document["variants"], 0, "for other clients")]
    return [*lines, "", *table([("PART", "SIZE", "CACHED", "USED", "DIGEST"), *parts], "  ")] if parts else lines


def _validity(document: Any) -> Iterator[tuple[str, str]]:
    if document["validated_at"] is None:
        return
    if document["deleted_at"] is not None:
        yield "tag", f"validated {ago(document['validated_at'])}, {_deletion(document)}"
        return
    rule = f"by the rule {document['rule']}" if document["rule"] else "by tag_ttl"
    fresh, grace, stale = document["fresh_until"], document["grace_until"], document["stale_until"]
    if fresh is None:
        yield "tag", f"validated {ago(document['validated_at'])}, fresh for ever {rule}"
        return
    if is_ahead(document["validated_at"]):
        yield "tag", "validated while the clock was ahead of what it is now: upstream is asked first"
        return
    if is_over(fresh):
        until = f"its freshness ended {ago(fresh)} {rule}"
        until += "" if is_over(grace) else f", served at once for another {left(grace)}"
    else:
        until = f"fresh for another {left(fresh)} {rule}"
    if stale is None:
        beyond = "usable for ever"
    else:
        beyond = f"usable in an outage for another {left(stale)}" if not is_over(stale) else "not usable in an outage"
    yield "tag", f"validated {ago(document['validated_at'])}, {until}, {beyond}"


def _deletion(document: Any) -> str:
    until = document["deleted_until"]
    served = f"served for another {left(until)}" if until and not is_over(until) else "not served any more"
    return f"seen to be deleted upstream {ago(document['deleted_at'])}, {served}"


def _keeping(document: Any) -> str:
    if document["pinned"]:
        return f"kept: pinned as {', '.join(document['pins'])}"
    if document["kept_until"] is None:
        return "kept until room is needed"
    return f"kept for another {left(document['kept_until'])} without use, or until room is needed"


def _parts(parts: Any, depth: int, called: str = "") -> Iterator[tuple[str, ...]]:
    for part in parts:
        what = called or part["platform"] or ("manifest" if part["kind"] == "manifest" else _kind(part["media_type"]))
        size = "-" if part["bytes"] is None else sized(part["bytes"])
        cached = "yes" if part["cached"] else "no"
        yield ("  " * depth + what, size, cached, ago(part["used_at"]), part["digest"])
        yield from _parts(part["parts"], depth + 1)


def _kind(media_type: str) -> str:
    """Return what people call a blob of this media type."""
    if ".config." in media_type or ".container.image." in media_type:
        return "config"
    return "layer" if ".layer." in media_type or ".rootfs." in media_type else "blob"
