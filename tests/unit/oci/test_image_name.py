from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RequestError
from mirror.oci.image_name import ImageName

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("alpine", None, "alpine", "latest"),
        ("alpine:3.20", None, "alpine", "3.20"),
        ("owner/app", None, "owner/app", "latest"),
        ("ghcr.io/owner/app:1", "ghcr.io", "owner/app", "1"),
        ("registry.lan:5000/app", "registry.lan:5000", "app", "latest"),
        ("registry.lan:5000/app:1", "registry.lan:5000", "app", "1"),
        (f"alpine@{DIGEST}", None, "alpine", DIGEST),
        (f"ghcr.io/owner/app:1@{DIGEST}", "ghcr.io", "owner/app", DIGEST),
    ],
)
def test_what_people_name(text: str, registry: str | None, repository: str, reference: str) -> None:
    image = ImageName.parse(text)
    assert (image.name.registry, image.name.rest, str(image.reference)) == (registry, repository, reference)


@pytest.mark.parametrize(
    "text",
    ["", ":", "@", "alpine:", ":1", "UPPER", "alpine@", "alpine@sha256:0", "a b", "https://x.io/a", "alpine:.1"],
)
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(RequestError):
        ImageName.parse(text)


@given(st.text(max_size=40))
def test_anything_is_an_image_or_refused(text: str) -> None:
    with suppress(RequestError):
        ImageName.parse(text)
