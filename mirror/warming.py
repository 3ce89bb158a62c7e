"""Warming, built from its configuration; a part of the composition root."""

from __future__ import annotations

import platform

from mirror.oci.platforms import Platforms

_MACHINES = {"armv6l": "arm/v6", "armv7l": "arm/v7"}
# What the kernel calls them; others are called so by everybody, or known by both names.


def usual_platforms() -> Platforms:
    """Return the platform of this machine, as its containers have it."""
    machine = platform.machine().lower()
    return Platforms.parse([f"linux/{_MACHINES.get(machine, machine)}"])
