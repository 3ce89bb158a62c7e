"""A row of the table: what is measured, of whom, and what it has to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.goal import Goal, Values
from benchmarks.site import Site

Shot = Callable[[str], Values]
"""Measures a peer, given its name, once."""

Stage = Callable[[Site, Sequence[str]], AbstractContextManager[Shot]]
"""Sets up what the shots at these peers have in common, and takes it down again."""


@dataclass(frozen=True, slots=True)
class Row:
    """`about` says what is measured, for people."""

    name: str
    about: str
    peers: tuple[str, ...]
    stage: Stage
    goals: tuple[Goal, ...]
