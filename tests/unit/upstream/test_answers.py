from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror import errors
from mirror.errors import MirrorError, UpstreamInvalid
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.upstream.answers import RegistryRequest, check, declared_digest, read_capped, retry_after
from tests.unit.upstream.answers import ReadyAnswer, answer

REGISTRY = URL("https://registry.example")
REQUEST = RegistryRequest("GET", Kind.BLOB, Repository("a/b"), "blobs/x", errors.BlobUnknown)


def waiting(value: str | None) -> int | None:
    """What a Retry-After header says."""
    return retry_after(answer(429, headers={} if value is None else {"Retry-After": value}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 17 ", 17),
        ("3600", 3600),
        ("3601", 3600),
        ("9" * 5000, 3600),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661\u0667", None),
        ("17 seconds", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Wed, 21 Oct 2015 07:28:00 -0000", None),
        ("Wed, 21 Oct 2015 25:61:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_when_to_come_back(value: str | None, seconds: int | None) -> None:
    assert waiting(value) == seconds


def test_when_to_come_back_as_a_date() -> None:
    seconds = waiting(format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True))
    assert seconds is not None
    assert 0 < seconds <= 600


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:27:00 GMT", 60),
        ("Wed, 21 Oct 2015 07:29:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 3600),
        # As if it had none.
        ("Wed, 21 Oct 2015 07:27:00 -0000", 0),
        ("nonsense", 0),
    ],
)
def test_a_date_to_come_back_at_is_counted_from_that_of_the_answer(date: str, seconds: int) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": date}
    assert retry_after(answer(429, headers=headers)) == seconds


def test_of_several_times_to_come_back_the_first_counts() -> None:
    assert retry_after(answer(429, headers=[("Retry-After", "17"), ("Retry-After", "9"), ("Date", "x")])) == 17


dates = st.builds(
    lambda day, year, zone: f"{day} Oct {year} 07:28:00 {zone}",
    st.sampled_from(["Wed, 21", "99", "1", "-1", "Wed, 31", "Wed"]),
    st.integers(0, 10**6),
    st.sampled_from(["GMT", "EST", "+0000", "-0000", "+9999", "-2400", "+99999999", "+" + "9" * 30, "+" + "9" * 400]),
)


pieces = st.lists(st.sampled_from(["Wed,", "21", "Oct", "2015", "07:28:00", "7.28", "GMT", "+", "-99999", ":"]))
headers = st.text(max_size=30) | dates | st.integers().map(str) | pieces.map(" ".join)


@given(headers, headers)
def test_no_header_does_worse_than_be_unreadable(value: str, date: str) -> None:
    seconds = retry_after(answer(429, headers={"Retry-After": value, "Date": date}))
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthorized),
        (403, errors.Denied),
        (404, errors.BlobUnknown),
        (429, errors.UpstreamThrottled),
        (500, errors.UpstreamFailed),
        (502, errors.UpstreamFailed),
        (503, errors.UpstreamFailed),
        (204, errors.UpstreamInvalid),
        (206, errors.UpstreamInvalid),
        (304, errors.UpstreamInvalid),
        (400, errors.UpstreamInvalid),
        (418, errors.UpstreamInvalid),
    ],
)
def test_what_a_status_means(status: int, kind: type[MirrorError]) -> None:
    response = ReadyAnswer(status, b"", {}, REGISTRY / "v2/")
    with pytest.raises(kind) as raised:
        check(response, REGISTRY, REQUEST)  # type: ignore[arg-type]  # a double
    assert type(raised.value) is kind
    assert response.released


def test_what_was_asked_for_is_left_open() -> None:
    response = ReadyAnswer(200, b"", {}, REGISTRY / "v2/")
    check(response, REGISTRY, REQUEST)  # type: ignore[arg-type]  # a double
    assert not response.released


@pytest.mark.parametrize("status", [401, 403])
def test_a_cdn_does_not_speak_for_the_registry(status: int) -> None:
    with pytest.raises(errors.UpstreamInvalid):
        check(answer(status, url=URL("https://cdn.example/blob")), REGISTRY, REQUEST)


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (str(Digest.of(b"x")), Digest.of(b"x")),
        (None, None),
        ("", None),
        ("sha256:short", None),
        ("md5:" + "0" * 32, None),
    ],
)
def test_the_declared_digest(value: str | None, digest: Digest | None) -> None:
    headers = {} if value is None else {"Docker-Content-Digest": value}
    assert declared_digest(answer(headers=headers)) == digest


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "5000"}])
async def test_a_body_is_read_up_to_its_limit(headers: dict[str, str]) -> None:
    assert await read_capped(answer(200, b"x" * 5000, headers), 5000) == b"x" * 5000
    response = ReadyAnswer(200, b"x" * 5000, headers, REGISTRY)
    with pytest.raises(UpstreamInvalid):
        await read_capped(response, 4999)  # type: ignore[arg-type]  # a double
    assert response.released
