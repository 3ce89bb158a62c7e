"""Platforms as people write them, `linux/arm64` or `linux/arm/v7`, and which manifests of an index they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mirror.errors import InvalidPlatform
from mirror.oci.children import Child

_PART = "[a-z0-9][a-z0-9._-]{0,31}"
_GRAMMAR = re.compile(rf"{_PART}/{_PART}(?:/{_PART})?")
_USUAL = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"}
# What else an architecture is called: by kernels, and by people.

_NOWHERE = "unknown/unknown"
# What BuildKit calls the platform of its attestations, which run nowhere.


@dataclass(frozen=True, slots=True)
class Platforms:
    """Some platforms by their names; None stands for all there are."""

    names: tuple[str, ...] | None

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Platforms:
        """Return the platforms that these texts name, `all` for everything; raises InvalidPlatform."""
        given = tuple(texts)
        if "all" in given:
            return ALL
        if not given:
            raise InvalidPlatform("at least one platform is needed, for example linux/amd64, or all")
        return cls(tuple(dict.fromkeys(map(_parse, given))))

    @classmethod
    def of(cls, children: Iterable[Child]) -> Platforms | None:
        """Return the platforms of these manifests, None if they have none."""
        names = tuple(dict.fromkeys(_usual(child.platform) for child in children if child.platform))
        return cls(names) if names else None

    def include(self, child: Child) -> bool:
        """Tell whether a manifest of an index is wanted; one of no platform is for all of them."""
        if self.names is None or not child.platform:
            return True
        platform = _usual(child.platform)
        return any(platform == name or platform.startswith(f"{name}/") for name in self.names)

    def __str__(self) -> str:
        return "all" if self.names is None else ", ".join(self.names)


ALL = Platforms(None)


def told(children: Iterable[Child]) -> str:
    """Return the platforms of an index in words, without what runs nowhere."""
    found = dict.fromkeys(child.platform for child in children if child.platform and child.platform != _NOWHERE)
    return ", ".join(found)


def _parse(text: str) -> str:
    platform = text.strip().lower()
    if not _GRAMMAR.fullmatch(platform):
        raise InvalidPlatform("a platform is os/architecture[/variant], for example linux/arm64, or all")
    return _usual(platform)


def _usual(platform: str) -> str:
    """Return the one name of a platform that has several."""
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    architecture = _USUAL.get(architecture, architecture)
    if (architecture, variant) == ("arm64", "v8"):
        variant = ""
    return "/".join(filter(None, (system, architecture, variant)))
