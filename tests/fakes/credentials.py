"""The two Authorization headers that registries know."""

import base64
import binascii


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """User and password of a Basic Authorization header; None for anything else."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def bearer_token(header: str | None) -> str | None:
    """The token of a Bearer Authorization header; None for anything else."""
    scheme, _, token = (header or "").partition(" ")
    return token if scheme.lower() == "bearer" else None
