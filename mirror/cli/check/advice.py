"""Whose fault it is that an endpoint is not well, and what to do: a sentence a reason. Pure."""

from __future__ import annotations

from mirror.upstream.probing.diagnosis import Reason
from mirror.upstream.probing.findings import Fault, Findings

_ADVICE = {
    Reason.NAME: "is it spelled right, and does this machine's DNS work?",
    Reason.ADDRESS: "if that is meant, say upstreams.{upstream}.private_network: true",
    Reason.REFUSED: "nothing listens there: the service is down, or its port is wrong",
    Reason.NO_ROUTE: "this machine's network, or a firewall, is at fault",
    Reason.NO_CONNECTION: "the service is down or hangs, or a firewall drops what is sent to it",
    Reason.PROXY: "look at upstreams.{upstream}.proxy: is it there, does it know the mirror, and lead to that host?",
    Reason.UNTRUSTED: (
        "nobody this machine trusts has signed its certificate: if it is your own, have the system trust its CA"
        " (SSL_CERT_FILE names another list); if not, somebody is in between"
    ),
    Reason.EXPIRED: "its certificate is out of date, which its owner can mend; or this machine's clock is wrong",
    Reason.WRONG_NAME: "its certificate is for another name: the address is wrong, or somebody is in between",
    Reason.TLS: "it may speak plain http there, or another version of TLS",
    Reason.CUT: "it, or something in between, hung up: try again later, or ask its owner",
    Reason.SILENT: "it hangs or is overloaded: try again later, or ask its owner",
    Reason.TIMEOUT: "it hangs, or DNS does, or the network; --timeout gives it longer",
    Reason.NO_REGISTRY: "no registry is there: is the address right?",
    Reason.NO_CHALLENGE: "the registry, or a proxy before it, is at fault: there is no usable WWW-Authenticate",
    Reason.CREDENTIALS_NEEDED: "give it upstreams.{upstream}.credentials",
    Reason.NO_CREDENTIALS: "look at upstreams.{upstream}.credentials, and at where they are kept",
    Reason.NOT_PUBLIC: (
        "clients do not get it, since upstreams.{upstream}.serve_private is nobody; with everyone, each client gets"
        " what the credentials can read"
    ),
    Reason.UNKNOWN: "nothing is wrong with the way there: is the name right? mirror check IMAGE tries another",
    Reason.THROTTLED: "too many requests came from this address: wait, or give it upstreams.{upstream}.credentials",
    Reason.BROKEN: "its owner is at fault: try again later",
    Reason.NONSENSE: "what listens there does not speak as a registry does: is the address right?",
}

_DENIED = "give it upstreams.{upstream}.credentials, if this is not for everybody"
_REFUSED = "look at upstreams.{upstream}.credentials: are they right, and may they read this?"
_WITHHELD = (
    "the credentials were withheld from {realm}: if it belongs to this registry, name it in upstreams.{upstream}.realms"
)


def advice(findings: Findings, fault: Fault, *, has_credentials: bool) -> str:
    """Return one line on what went wrong, whose fault it is and what to do."""
    sentence = _ADVICE.get(fault.reason) or _denied(findings, has_credentials=has_credentials)
    told = sentence.format(upstream=findings.upstream, realm=findings.withheld_from)
    return f"{findings.upstream}: {fault.detail}; {told}"


def _denied(findings: Findings, *, has_credentials: bool) -> str:
    if findings.withheld_from is not None:
        return _WITHHELD
    return _REFUSED if has_credentials else _DENIED
