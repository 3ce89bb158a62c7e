"""What the mirror says of images, as a terminal shows it: lines, made harmless by who prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mirror.cli.images.times import ago
from mirror.cli.report import counted, sized

_SHORT = 12
# Hex digits of a digest that people compare by.


def listing(document: Any) -> list[str]:
    """Return the images as a table, a line for each pin of what is not cached, and one line for all."""
    images = document["images"]
    waiting = [f"pinned, not cached yet: {name}" for name in document["pins_not_cached"]]
    if waiting:
        waiting.append("")
    if not images:
        return [*waiting, "0 images"]
    rows = [
        (
            image["image"],
            image["digest"].partition(":")[2][:_SHORT],
            sized(image["bytes"]),
            sized(image["unshared_bytes"]),
            ago(image["used_at"]),
            image["state"],
            "pinned" if image["pinned"] else "",
        )
        for image in images
    ]
    heads = ("IMAGE", "DIGEST", "SIZE", "UNSHARED", "USED", "PULL", "PIN")
    return [*table([heads, *rows]), "", *waiting, counted(len(images), "image")]


def pinned(document: Any) -> list[str]:
    """Return what was pinned."""
    later = "" if document["cached"] else "; it is not cached yet, and stays once it is"
    return [f"pinned {document['image']}{later}"]


def unpinned(document: Any) -> list[str]:
    """Return what is pinned no more."""
    return [f"unpinned {document['image']}"]


def purged(document: Any) -> list[str]:
    """Return what was purged, and what stays."""
    lines = [f"purged {image}" for image in document["images"]]
    lines.append(f"{counted(document['files'], 'file')} removed, {sized(document['bytes'])}")
    if document["shared_files"]:
        lines.append(f"{counted(document['shared_files'], 'file')} left: other images hold them")
    if document["under_way"]:
        lines.append(f"{counted(document['under_way'], 'file')} being fetched just now: they will be kept")
    return lines


def table(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Return the rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
