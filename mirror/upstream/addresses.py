"""Which addresses may be connected to: public ones, unless an upstream is configured to be on a private network.

A name that a proxy will resolve is judged as it stands: what it leads to is then the proxy's to allow.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from aiohappyeyeballs import AddrInfoType

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL = tuple(
    # What the ipaddress module takes for global and nobody should be sent to; one is Azure's host agent.
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "168.63.129.16/32", "::/96", "64:ff9b:1::/48", "fec0::/10")
)


class AddressForbidden(OSError):
    """A name led to an address that the upstream's policy does not allow."""


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public Internet; one that wraps an IPv4 address is judged by that one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    local = any(address in network for network in _LOCAL)
    return address.is_global and not address.is_multicast and not local


def public_socket(info: AddrInfoType) -> socket.socket:
    """Return a socket for this address; raises AddressForbidden if the address is not public.

    This is asked with the very address that will be connected to, so a second look-up cannot change it, and it
    is asked for literal addresses too, which no resolver sees.
    """
    family, kind, protocol, _, target = info
    host = str(target[0]).partition("%")[0]
    if not is_public(ipaddress.ip_address(host)):
        raise AddressForbidden("its address is private and private_network is not set")
    return socket.socket(family, kind, protocol)


def check_host(host: str) -> None:
    """Return if a host that others will resolve is not private as it stands; raises AddressForbidden.

    Numbers that are no address in the usual form are one in some other, which a proxy may read; so may be letters
    that are not those of names.
    """
    name = host.partition("%")[0] if ":" in host else host.rstrip(".").lower()
    try:
        allowed = is_public(ipaddress.ip_address(name))
    except ValueError:
        last = name.rpartition(".")[2]
        allowed = bool(_NAME.fullmatch(name)) and last != "localhost" and not _NUMBER.fullmatch(last)
    if not allowed:
        raise AddressForbidden("its address is private and private_network is not set")
