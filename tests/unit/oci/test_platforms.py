from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import InvalidPlatform
from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.oci.platforms import ALL, Platforms, told


def child(platform: str) -> Child:
    return Child(Digest.of(platform.encode()), platform=platform, is_manifest=True)


@pytest.mark.parametrize(
    ("wanted", "platform", "is_wanted"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm", "linux/arm64", False),
        ("linux/arm/v7", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/aarch64", "linux/arm64/v8", True),
        ("Linux/x86_64", "linux/amd64", True),
        ("linux/amd64", "unknown/unknown", False),
        ("all", "unknown/unknown", True),
        ("linux/amd64", "", True),
    ],
)
def test_a_platform_means_its_variants_and_what_it_is_called_elsewhere(
    wanted: str, platform: str, is_wanted: bool
) -> None:
    assert Platforms.parse([wanted]).include(child(platform)) is is_wanted


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux//v7", "ALL"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlatform):
        Platforms.parse([text])


def test_no_platform_is_a_mistake_and_all_of_them_are_a_word() -> None:
    with pytest.raises(InvalidPlatform, match="at least one"):
        Platforms.parse([])
    assert Platforms.parse(["linux/amd64", "all"]) == ALL
    assert str(ALL) == "all"


def test_platforms_are_told_without_what_runs_nowhere() -> None:
    assert told(map(child, ["linux/amd64", "unknown/unknown", "", "linux/amd64"])) == "linux/amd64"


@given(st.text(max_size=40))
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platforms = Platforms.parse([text])
    except InvalidPlatform:
        return
    assert Platforms.parse([str(platforms)]) == platforms
