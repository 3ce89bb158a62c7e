from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import InvalidDigest
from mirror.oci.digest import Digest
from tests.unit.oci.strategies import digests

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_registered_algorithm_is_taken(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert f"{digest.algorithm}:{digest.encoded}" == text


@given(digests)
def test_text_and_value_are_the_same_thing(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(":", id="colon only"),
        pytest.param("sha256", id="algorithm only"),
        pytest.param("sha256:", id="nothing encoded"),
        pytest.param("0" * 64, id="no algorithm"),
        pytest.param(":" + "0" * 64, id="empty algorithm"),
        pytest.param("sha256:" + "0" * 63, id="short"),
        pytest.param("sha256:" + "0" * 65, id="long"),
        pytest.param("sha256:" + "0" * 128, id="length of the other algorithm"),
        pytest.param("sha512:" + "0" * 64, id="sha512 with the length of sha256"),
        pytest.param("sha256:" + "A" * 64, id="upper case"),
        pytest.param("SHA256:" + "a" * 64, id="upper-case algorithm"),
        pytest.param("sha256:" + "g" * 64, id="not hex"),
        pytest.param("md5:" + "0" * 32, id="md5"),
        pytest.param("sha1:" + "0" * 40, id="sha1"),
        pytest.param("sha384:" + "0" * 96, id="sha384"),
        pytest.param("sha256:sha256:" + "0" * 64, id="two algorithms"),
        pytest.param("sha256:" + "0" * 64 + ":", id="colon at the end"),
        pytest.param("sha256:" + "0" * 31 + ":" + "0" * 32, id="colon inside"),
        pytest.param("sha256+b64:" + "0" * 64, id="algorithm with component"),
        pytest.param("sha256:" + "\u0660" * 64, id="Arabic digits"),
        pytest.param("sha256:" + "\uff10" * 64, id="fullwidth digits"),
        pytest.param("sha256:" + "0" * 63 + "\n", id="newline for a digit"),
        pytest.param("sha256:" + "0" * 64 + "\n", id="newline at the end"),
        pytest.param(" sha256:" + "0" * 64, id="space before"),
        pytest.param("sha256: " + "0" * 63, id="space inside"),
        pytest.param("sha256:../../" + "0" * 58, id="path"),
        pytest.param("sha256:" + "0" * 63 + "\0", id="NUL"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@given(st.text(max_size=140))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert str(digest) == text


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_the_digest_of_bytes_verifies_them_and_no_others(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert digest.encoded == hashlib.new(algorithm, data).hexdigest()
    assert digest.verifies(data)
    assert not digest.verifies(data + b"\0")
    assert not digest.verifies(data[1:] + b"x")


@given(st.lists(st.binary(max_size=50)), st.sampled_from(["sha256", "sha512"]))
def test_a_hasher_takes_bytes_in_any_pieces(pieces: list[bytes], algorithm: str) -> None:
    digest = Digest.of(b"".join(pieces), algorithm)
    hasher = digest.hasher()
    for piece in pieces:
        hasher.update(piece)
    assert hasher.hexdigest() == digest.encoded


def test_each_hasher_is_a_fresh_one() -> None:
    digest = Digest.of(b"")
    digest.hasher().update(b"something")
    assert digest.hasher().hexdigest() == digest.encoded


def test_no_digest_of_an_unregistered_algorithm_can_be_made() -> None:
    with pytest.raises(InvalidDigest):
        Digest.of(b"data", "md5")
    with pytest.raises(InvalidDigest):
        Digest("md5", "0" * 32)
