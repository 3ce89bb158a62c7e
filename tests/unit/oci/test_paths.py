from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirror.errors import InvalidDigest, InvalidName, InvalidTag, RequestError, UnknownPath
from mirror.oci.digest import Digest
from mirror.oci.paths import ApiPath, BlobPath, ManifestPath, Name, Ping, ReferrersPath, TagsPath, parse_path
from mirror.oci.reference import MAX_NAME, Tag, split_registry
from tests.unit.oci.strategies import digests, repositories, tags

DIGEST = Digest.of(b"content")


def plain(name: str) -> Name:
    """A name without a registry in front."""
    return Name(None, name, name)


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/v2", Ping()),
        ("/v2/", Ping()),
        ("/v2/alpine/manifests/3.20", ManifestPath(plain("alpine"), Tag("3.20"))),
        ("/v2/library/alpine/manifests/3.20", ManifestPath(plain("library/alpine"), Tag("3.20"))),
        (f"/v2/a/b/c/manifests/{DIGEST}", ManifestPath(plain("a/b/c"), DIGEST)),
        (f"/v2/a/b/c/blobs/{DIGEST}", BlobPath(plain("a/b/c"), DIGEST)),
        (
            "/v2/ghcr.io/owner/app/manifests/v1",
            ManifestPath(Name("ghcr.io", "owner/app", "ghcr.io/owner/app"), Tag("v1")),
        ),
        (
            "/v2/localhost:5000/app/manifests/v1",
            ManifestPath(Name("localhost:5000", "app", "localhost:5000/app"), Tag("v1")),
        ),
        ("/v2/manifests/manifests/manifests", ManifestPath(plain("manifests"), Tag("manifests"))),
        ("/v2/a/manifests/manifests/latest", ManifestPath(plain("a/manifests"), Tag("latest"))),
        (f"/v2/a/manifests/b/blobs/{DIGEST}", BlobPath(plain("a/manifests/b"), DIGEST)),
        (f"/v2/blobs/blobs/{DIGEST}", BlobPath(plain("blobs"), DIGEST)),
        ("/v2/tags/list/manifests/latest", ManifestPath(plain("tags/list"), Tag("latest"))),
        ("/v2/alpine/tags/list", TagsPath(plain("alpine"))),
        ("/v2/tags/list/tags/list", TagsPath(plain("tags/list"))),
        ("/v2/ghcr.io/owner/app/tags/list", TagsPath(Name("ghcr.io", "owner/app", "ghcr.io/owner/app"))),
        (f"/v2/alpine/referrers/{DIGEST}", ReferrersPath(plain("alpine"), DIGEST)),
        (f"/v2/a/blobs/referrers/{DIGEST}", ReferrersPath(plain("a/blobs"), DIGEST)),
        ("/v2/v2/manifests/latest", ManifestPath(plain("v2"), Tag("latest"))),
    ],
)
def test_what_a_path_means(path: str, meaning: ApiPath) -> None:
    assert parse_path(path) == meaning


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//v2/",
        "/v1/",
        "/V2/",
        "/v2x/",
        "/v22/alpine/manifests/latest",
        "/index.html",
        "/v2//",
        "/v2/alpine",
        "/v2/_catalog",
        "/v2/alpine/tags/list/",
        "/v2/alpine/blobs/uploads/",
        "/v2/alpine/tags/other",
        "/v2/alpine/MANIFESTS/latest",
        "/v2/../etc/passwd",
        "*",
        "http://example.com/v2/",
    ],
)
def test_what_is_no_endpoint(path: str) -> None:
    with pytest.raises(UnknownPath):
        parse_path(path)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/v2/manifests/latest", id="no name"),
        pytest.param("/v2//manifests/latest", id="empty name"),
        pytest.param("/v2//alpine/manifests/latest", id="double slash in front"),
        pytest.param("/v2/library//alpine/manifests/latest", id="double slash inside"),
        pytest.param("/v2/library/alpine//manifests/latest", id="double slash behind"),
        pytest.param("/v2/./alpine/manifests/latest", id="dot"),
        pytest.param("/v2/../alpine/manifests/latest", id="two dots in front"),
        pytest.param("/v2/library/../../alpine/manifests/latest", id="two dots inside"),
        pytest.param("/v2/library%2Falpine/manifests/latest", id="encoded slash"),
        pytest.param("/v2/library%252Falpine/manifests/latest", id="encoded twice"),
        pytest.param("/v2/%2e%2e/alpine/manifests/latest", id="encoded dots"),
        pytest.param("/v2/alpine/manifests/3%2e20", id="encoded tag"),
        pytest.param("/v2/library\\alpine/manifests/latest", id="backslash"),
        pytest.param("/v2/alpine/manifests/..\\..\\x", id="backslash in the tag"),
        pytest.param("/v2/al\0pine/manifests/latest", id="NUL"),
        pytest.param("/v2/alpine\n/manifests/latest", id="newline"),
        pytest.param("/v2/alpine/manifests/latest\r\n", id="newline at the end"),
        pytest.param("/v2/al\x7fpine/manifests/latest", id="DEL"),
        pytest.param("/v2/al\tpine/manifests/latest", id="tab"),
        pytest.param("/v2/caf\u00e9/manifests/latest", id="not ASCII"),
        pytest.param("/v2/al\udcffpine/manifests/latest", id="not even text"),
        pytest.param("/v2/\uff41lpine/manifests/latest", id="fullwidth letter"),
        pytest.param("/v2/Alpine/manifests/latest", id="upper case"),
        pytest.param("/v2/al pine/manifests/latest", id="space"),
        pytest.param("/v2/" + "a" * (MAX_NAME + 1) + "/manifests/latest", id="too long"),
        pytest.param("/v2/" + "a/" * 5000 + "manifests/latest", id="far too long"),
        pytest.param("/v2/ghcr.io//manifests/latest", id="a registry and nothing else"),
        pytest.param("/v2/user:password@ghcr.io/app/manifests/latest", id="user info"),
    ],
)
def test_malformed_names(path: str) -> None:
    with pytest.raises(InvalidName):
        parse_path(path)


@pytest.mark.parametrize("tag", ["", ".hidden", "-", "a" * 129, "a b"])
def test_malformed_tags(tag: str) -> None:
    with pytest.raises(InvalidTag):
        parse_path(f"/v2/alpine/manifests/{tag}")


@pytest.mark.parametrize("digest", ["", "latest", "sha256:", "md5:" + "0" * 32, "sha256:" + "A" * 64])
def test_malformed_digests(digest: str) -> None:
    with pytest.raises(InvalidDigest):
        parse_path(f"/v2/alpine/blobs/{digest}")


def test_a_path_begins_with_a_slash() -> None:
    with pytest.raises(RequestError):
        parse_path("v2/alpine/manifests/latest")


def test_a_path_that_escapes_is_never_split_anew() -> None:
    with pytest.raises(RequestError):
        parse_path("/v2/alpine/manifests/../../blobs/x")


@given(repositories, tags)
def test_every_valid_name_and_tag_has_a_path(name: str, tag: str) -> None:
    assume(len(name) <= MAX_NAME)
    registry, rest = split_registry(name)
    assert parse_path(f"/v2/{name}/manifests/{tag}") == ManifestPath(Name(registry, rest, name), Tag(tag))


@given(repositories)
def test_every_valid_name_has_a_list_of_tags(name: str) -> None:
    assume(len(name) <= MAX_NAME)
    registry, rest = split_registry(name)
    assert parse_path(f"/v2/{name}/tags/list") == TagsPath(Name(registry, rest, name))


@given(repositories, digests)
def test_every_valid_name_and_digest_has_three(name: str, digest: Digest) -> None:
    assume(len(name) <= MAX_NAME)
    registry, rest = split_registry(name)
    assert parse_path(f"/v2/{name}/blobs/{digest}") == BlobPath(Name(registry, rest, name), digest)
    assert parse_path(f"/v2/{name}/manifests/{digest}") == ManifestPath(Name(registry, rest, name), digest)
    assert parse_path(f"/v2/{name}/referrers/{digest}") == ReferrersPath(Name(registry, rest, name), digest)


pieces = st.one_of(
    st.sampled_from(
        [
            "/",
            "//",
            "..",
            ".",
            "%2f",
            "manifests",
            "blobs",
            "referrers",
            "tags",
            "list",
            "v2",
            ":",
            "sha256:",
            "\\",
            "\0",
        ]
    ),
    st.sampled_from([str(DIGEST), "latest", "ghcr.io", "localhost:5000", "a"]),
    st.text(max_size=5),
)


@given(st.lists(pieces, max_size=12).map("".join), st.sampled_from(["/v2/", "/v2/a/manifests/", "/v2/a/blobs/", ""]))
def test_no_path_does_worse_than_be_refused(rest: str, beginning: str) -> None:
    try:
        parsed = parse_path(beginning + rest)
    except RequestError:
        return
    match parsed:
        case ManifestPath(name, reference):
            assert beginning + rest == f"/v2/{name.whole}/manifests/{reference}"
        case BlobPath(name, digest):
            assert beginning + rest == f"/v2/{name.whole}/blobs/{digest}"
        case TagsPath(name):
            assert beginning + rest == f"/v2/{name.whole}/tags/list"
        case ReferrersPath(name, digest):
            assert beginning + rest == f"/v2/{name.whole}/referrers/{digest}"
        case Ping():
            assert beginning + rest in ("/v2", "/v2/")
