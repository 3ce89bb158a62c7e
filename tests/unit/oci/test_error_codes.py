from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.error_codes import ErrorCode, error_body

# distribution-spec, "Error Codes"; UNAVAILABLE is distribution's own for what the spec has none for.
SPECIFIED = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}


def test_only_codes_that_clients_know() -> None:
    assert {str(code) for code in ErrorCode} - {"UNAVAILABLE"} <= SPECIFIED


@given(st.sampled_from(ErrorCode), st.text())
def test_the_document_is_the_specs(code: ErrorCode, message: str) -> None:
    assert json.loads(error_body(code, message)) == {"errors": [{"code": str(code), "message": message}]}
