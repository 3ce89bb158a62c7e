"""JSON documents that a registry sends, as far as they all are alike."""

from __future__ import annotations

import json
from typing import Any

from mirror.errors import UpstreamInvalid


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that `data` is; raises UpstreamInvalid, which calls it `what`, for anything else."""
    try:
        # Decoded here: left to itself, json takes UTF-16 and UTF-32 as well, which clients do not.
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise UpstreamInvalid(f"upstream sent {what} that is not JSON") from None
    if not isinstance(document, dict):
        raise UpstreamInvalid(f"upstream sent {what} that is not a JSON object")
    return document


def parse_list(document: dict[str, Any], field: str, what: str) -> list[Any]:
    """Return the list that `field` holds; null is an empty one, as registries written in Go say it.

    Raises UpstreamInvalid, which calls the document `what`, for anything else: that a list is missing does not
    mean that there is nothing.
    """
    entries = document.get(field, "missing")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise UpstreamInvalid(f"upstream sent {what} without {field}")
    return entries
