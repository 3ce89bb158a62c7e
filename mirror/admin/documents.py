"""What the API says, in JSON: sizes in bytes, times as RFC 3339 in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from mirror import errors
from mirror.errors import MirrorError
from mirror.proxy.operations.inspection import CachedImage, Part, ShownImage
from mirror.proxy.operations.naming import FullName
from mirror.proxy.operations.purge import PurgeReport
from mirror.proxy.warming.warmth import Progress, Warmed

_STATUSES: dict[type[MirrorError], int] = {
    errors.RequestError: 400,
    errors.UnknownRegistry: 404,
    errors.NotCached: 404,
    errors.NotPinned: 404,
    errors.StillPinned: 409,
    errors.TooManyPins: 409,
    errors.StoreFailed: 503,
    errors.Busy: 503,
}


def problem(status: int, code: str, sentence: str) -> web.Response:
    """Return an error document."""
    return web.json_response({"error": {"code": code, "message": sentence}}, status=status)


def problem_of(error: MirrorError) -> web.Response:
    """Return the document of one of our errors."""
    status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)
    return problem(status, _code(error), str(error))


def image(found: CachedImage) -> dict[str, Any]:
    """Return an image of the list."""
    of_tag = found.lifetime
    return {
        "image": str(found.name),
        "digest": str(found.digest),
        "media_type": found.media_type,
        "state": found.state,
        "reason": str(found.reason),
        "rule": found.rule,
        "validated_at": _time(None if found.record is None else found.record.validated_at),
        "fresh_until": _time(None if of_tag is None else of_tag.fresh_until),
        "grace_until": _time(None if of_tag is None else of_tag.grace_until),
        "stale_until": _time(None if of_tag is None else of_tag.stale_until),
        "deleted_at": _time(None if found.record is None else found.record.gone_since),
        "deleted_until": _time(None if of_tag is None else of_tag.deleted_until),
        "used_at": _time(found.used_at),
        "kept_until": _time(found.kept_until),
        "pinned": found.is_pinned,
        "bytes": found.size,
        "unshared_bytes": found.unshared,
    }


def shown(found: ShownImage) -> dict[str, Any]:
    """Return an image with what it consists of."""
    return image(found.image) | {
        "pins": list(map(str, found.pins)),
        "parts": list(map(_part, found.parts)),
        "variants": list(map(_part, found.variants)),
    }


def pins(names: Iterable[FullName]) -> dict[str, Any]:
    """Return all pins."""
    return {"pins": sorted(map(str, names))}


def purged(report: PurgeReport) -> dict[str, Any]:
    """Return what a purge has done."""
    return {
        "images": list(map(str, report.images)),
        "files": report.swept.files,
        "bytes": report.swept.size,
        "shared_files": report.shared,
        "under_way": report.swept.under_way,
    }


def warming(under_way: Iterable[Progress]) -> dict[str, Any]:
    """Return how far images are that are being fetched."""
    images = [{"image": one.image, "bytes": one.done, "total_bytes": one.total} for one in under_way]
    return {"event": "progress", "images": images}


def warmed(found: Warmed) -> dict[str, Any]:
    """Return how it went with an image."""
    error = found.error
    return {
        "event": "image",
        "image": found.image,
        "outcome": str(found.warmth),
        "bytes": found.size,
        "fetched_bytes": found.fetched,
        "error": None if error is None else {"code": _code(error), "message": str(error)},
    }


def _code(error: MirrorError) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def _part(part: Part) -> dict[str, Any]:
    child, file = part.child, part.file
    return {
        "digest": str(child.digest),
        "kind": "manifest" if child.is_manifest else "blob",
        "media_type": child.media_type,
        "platform": child.platform,
        "bytes": child.size if file is None else file.size,
        "cached": file is not None,
        "used_at": _time(None if file is None else file.used_at),
        "parts": list(map(_part, part.parts)),
    }


def _time(at: float | None) -> str | None:
    """Return a time as text, None for none and for what no calendar has."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
