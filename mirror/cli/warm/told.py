"""How it went, image by image, and all together; as lines and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mirror.cli.report import counted, sized

_WORDS = {"warmed": "warmed", "present": "already there", "spared": "left", "failed": "failed"}
_WIDTH = max(map(len, _WORDS.values()))


def line(image: Mapping[str, Any]) -> str:
    """Return how it went with an image."""
    outcome = image["outcome"]
    if image["error"] is not None:
        detail = image["error"]["message"]
    elif outcome == "warmed":
        detail = f"{sized(image['fetched_bytes'])} of {sized(image['bytes'])} fetched"
    else:
        detail = sized(image["bytes"])
    return f"{_WORDS[outcome]:<{_WIDTH}}  {image['image']}: {detail}"


def summary(images: list[Any]) -> str:
    """Return how it went with all of them."""
    outcomes = Counter(image["outcome"] for image in images)
    fetched = sum(image["fetched_bytes"] for image in images)
    told = [f"{outcomes[outcome]} {word}" for outcome, word in _WORDS.items() if outcomes[outcome]]
    return f"{counted(len(images), 'image')}: {', '.join([*told, f'{sized(fetched)} fetched'])}"


def unnamed(name: str, reason: str) -> dict[str, Any]:
    """Return what is told of something that names no image, as the mirror would tell it."""
    error = {"code": "invalid-name", "message": reason}
    return {"image": name, "outcome": "failed", "bytes": 0, "fetched_bytes": 0, "error": error}
