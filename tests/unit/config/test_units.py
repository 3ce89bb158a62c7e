from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.units import Address, parse_duration, parse_reserve, parse_size
from mirror.proxy.rate_limit import Reserve


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1B", 1),
        ("10kB", 10_000),
        ("10MB", 10_000_000),
        ("1KiB", 1024),
        ("512MiB", 512 * 2**20),
        ("50GiB", 50 * 2**30),
        ("2TiB", 2 * 2**40),
        ("1TB", 10**12),
        ("1.5GiB", 3 * 2**29),
        (" 10 GiB ", 10 * 2**30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "GiB",
        "10 gib",
        "10GB GiB",
        "-1GiB",
        "1,5GiB",
        "1e3GiB",
        "0x10B",
        "10G",
        ".5GiB",
        "1.GiB",
        "10\u00a0",
        10,
        1.5,
        None,
        True,
        ["10GiB"],
        b"10GiB",
        "10GiB\n10GiB",
    ],
)
def test_a_size_without_a_unit_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="a size is"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 7 * 86400),
        ("2w", 14 * 86400),
        ("1h30m", 5400),
        ("1m500ms", 60.5),
        ("1.5h", 5400),
        (" 5m ", 300),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", "5min", "5M", "-5m", "5m 30s", "5m30", "1e3s", "P1D", "5s\n5s", 5, 1.5, None, True, []],
)
def test_a_duration_without_a_unit_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="a duration is"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 30 + "d", "9" * 400 + "s", "999999999999w"])
def test_a_duration_beyond_all_calendars(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 400 + "B", "9" * 310 + "TiB"])
def test_a_size_beyond_all_disks(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.text(max_size=20) | st.text("0123456789.KMGTiBkmshdw \u0663", max_size=12))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for parse in (parse_size, parse_duration, Address.parse):
        try:
            parse(text)
        except ValueError:
            continue


@given(st.integers(0, 2**20), st.sampled_from(["B", "kB", "KiB", "MB", "MiB", "GiB"]))
def test_whole_numbers_are_exact(number: int, unit: str) -> None:
    factor = {"B": 1, "kB": 1000, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GiB": 2**30}[unit]
    assert parse_size(f"{number}{unit}") == number * factor


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:5000", "0.0.0.0", 5000),
        ("localhost:0", "localhost", 0),
        ("mirror.example:65535", "mirror.example", 65535),
        ("[::]:5000", "::", 5000),
        ("[fe80::1%1]:80", "fe80::1%1", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5000",
        ":5000",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:-1",
        "::1:5000",
        "[::1]",
        "[localhost]:80",
        "a b:80",
        "host:80 ",
        "host:123456",
        "host:80:80",
        "http://host:80",
        "host:8\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="an address is"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "reserve"),
    [
        ("10%", Reserve(share=0.1)),
        (" 2.5 % ", Reserve(share=0.025)),
        ("0%", Reserve()),
        ("100%", Reserve(share=1.0)),
        ("20", Reserve(pulls=20)),
        (20, Reserve(pulls=20)),
        (0, Reserve()),
    ],
)
def test_reserves(text: object, reserve: Reserve) -> None:
    assert parse_reserve(text) == reserve


@pytest.mark.parametrize(
    "text", ["", "%", "101%", "-1", -1, "1e2%", "10 pulls", "0.5", 0.5, True, None, [10], "9" * 30, "10%%", "1\u0660%"]
)
def test_what_is_neither_a_share_nor_a_number_is_no_reserve(text: object) -> None:
    with pytest.raises(ValueError, match="a reserve is"):
        parse_reserve(text)
