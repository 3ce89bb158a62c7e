"""What is behind an error of an upstream: one of a closed set of reasons, each with somebody who can do something."""

from __future__ import annotations

import errno
import ssl
from enum import StrEnum

import aiohttp

from mirror.errors import (
    CredentialsUnavailable,
    Denied,
    ManifestUnknown,
    MirrorError,
    ProxyRefused,
    UpstreamFailed,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from mirror.upstream.addresses import AddressForbidden


class Reason(StrEnum):
    """Why an endpoint, or its token service, is not well."""

    NAME = "name"
    ADDRESS = "address"
    REFUSED = "refused"
    NO_ROUTE = "no-route"
    NO_CONNECTION = "no-connection"
    PROXY = "proxy"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    WRONG_NAME = "wrong-name"
    TLS = "tls"
    CUT = "cut"
    SILENT = "silent"
    TIMEOUT = "timeout"
    NO_REGISTRY = "no-registry"
    NO_CHALLENGE = "no-challenge"
    CREDENTIALS_NEEDED = "credentials-needed"
    NO_CREDENTIALS = "no-credentials"
    DENIED = "denied"
    NOT_PUBLIC = "not-public"
    UNKNOWN = "unknown"
    THROTTLED = "throttled"
    BROKEN = "broken"
    NONSENSE = "nonsense"


# OpenSSL's numbers, which have no names in Python (x509_vfy.h).
_CERTIFICATES = {
    9: Reason.EXPIRED,  # not yet valid: for the one who reads it, the same
    10: Reason.EXPIRED,
    62: Reason.WRONG_NAME,
    64: Reason.WRONG_NAME,
}

_ERRORS: dict[type[MirrorError], Reason] = {
    CredentialsUnavailable: Reason.NO_CREDENTIALS,
    Denied: Reason.DENIED,
    ManifestUnknown: Reason.UNKNOWN,
    UpstreamThrottled: Reason.THROTTLED,
    UpstreamFailed: Reason.BROKEN,
}


def reason_of(error: MirrorError) -> Reason:
    """Return what is behind an error of the egress, of an endpoint or of a token service."""
    if isinstance(error, UpstreamTimeout):
        return Reason.NO_CONNECTION if isinstance(error.__cause__, aiohttp.ConnectionTimeoutError) else Reason.SILENT
    if isinstance(error, ProxyRefused):
        return Reason.PROXY
    if isinstance(error, UpstreamUnreachable):
        return _unreachable(error.__cause__)
    return next((reason for kind, reason in _ERRORS.items() if isinstance(error, kind)), Reason.NONSENSE)


def _unreachable(error: BaseException | None) -> Reason:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Reason.NAME
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _CERTIFICATES.get(getattr(error.certificate_error, "verify_code", 0), Reason.UNTRUSTED)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Reason.TLS
    if isinstance(getattr(error, "os_error", error), AddressForbidden):
        return Reason.ADDRESS
    if not isinstance(error, aiohttp.ClientConnectorError):
        return Reason.CUT
    return Reason.REFUSED if error.os_error.errno == errno.ECONNREFUSED else Reason.NO_ROUTE
