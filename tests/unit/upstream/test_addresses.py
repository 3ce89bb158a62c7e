from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.addresses import AddressForbidden, check_host, is_public, public_socket

PRIVATE_V4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
PUBLIC_V4 = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.167.0.1", "223.255.255.255"]
PRIVATE_V6 = [
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "fec0::1",
    "100::1",
    "2001:db8::1",
    "2001::1",
    "2001:10::1",
    "2001:0:7f00:1::",
]
PUBLIC_V6 = ["2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]


@pytest.mark.parametrize("address", [*PRIVATE_V4, *PRIVATE_V6])
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC_V4, *PUBLIC_V6])
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


WRAPPINGS = {
    "IPv4-mapped": lambda v4: f"::ffff:{v4}",
    "6to4": lambda v4: str(ipaddress.IPv6Address((0x2002 << 112) | (int(v4) << 80) | 1)),
    "NAT64": lambda v4: f"64:ff9b::{v4}",
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("address", PRIVATE_V4)
def test_a_wrapped_private_address_is_private(wrapping: str, address: str) -> None:
    wrapped = WRAPPINGS[wrapping](ipaddress.IPv4Address(address))
    assert not is_public(ipaddress.ip_address(wrapped))


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("address", PUBLIC_V4)
def test_a_wrapped_public_address_is_public(wrapping: str, address: str) -> None:
    wrapped = WRAPPINGS[wrapping](ipaddress.IPv4Address(address))
    assert is_public(ipaddress.ip_address(wrapped))


@pytest.mark.parametrize("address", ["::127.0.0.1", "::10.0.0.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:ffff::7f00:1"])
def test_ways_to_wrap_that_are_out_of_use_or_local(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_every_address_is_judged(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(address):
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"])
def test_no_socket_to_a_private_address(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    target = (host, 443, 0, 0) if ":" in host else (host, 443)
    with pytest.raises(AddressForbidden):
        public_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target))


def test_a_socket_to_a_public_one() -> None:
    with public_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("1.1.1.1", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


ODD = [
    "",
    ".",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x",
    "127.1",
    "127.0.0.1.",
    "0177.0.0.1",
    "1.2.3.4.5",
    "a.example.1",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example",
    "\uff11\uff12\uff17.0.0.1",
    "\u24dbocalhost",
    "a b.example",
    "a@127.0.0.1",
    "[::1",
]


@pytest.mark.parametrize("host", [*PRIVATE_V4, *PRIVATE_V6, *ODD])
def test_a_host_that_is_not_for_a_proxy_to_resolve(host: str) -> None:
    with pytest.raises(AddressForbidden):
        check_host(host)


@pytest.mark.parametrize(
    "host",
    [*PUBLIC_V4, "2606:4700::1111", "registry.example", "Registry-1.docker.IO.", "a", "x_1.test", "1.test"],
)
def test_a_host_that_a_proxy_may_resolve(host: str) -> None:
    check_host(host)


@given(st.text(max_size=20) | st.text("0123456789abcdefx.:%[]", max_size=20) | st.ip_addresses().map(str))
def test_no_private_address_gets_to_a_proxy_in_any_form_that_this_machine_reads(host: str) -> None:
    try:
        check_host(host)
        address = ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, ValueError):
        return
    assert is_public(address)
