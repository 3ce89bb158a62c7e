"""Error codes of the distribution spec, and the JSON that carries them ("Error Codes")."""

import json
from enum import StrEnum


class ErrorCode(StrEnum):
    """The spec's codes that a read-only registry uses, and UNAVAILABLE for what it has none for."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    UNAVAILABLE = "UNAVAILABLE"
    UNSUPPORTED = "UNSUPPORTED"


def error_body(code: ErrorCode, message: str) -> bytes:
    """Return the JSON document of one error."""
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()
