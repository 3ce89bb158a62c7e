"""What the mirror may read of an upstream, and what anybody may."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRequested:
    """A token service was asked; outcome is `granted`, `refused` or `failed`."""

    upstream: str
    outcome: str


@dataclass(frozen=True, slots=True)
class CredentialsWithheld:
    """A challenge named a token service the upstream's credentials are not bound to."""

    upstream: str
    realm: str


@dataclass(frozen=True, slots=True)
class CredentialsUnreadable:
    """The credentials of an upstream could not be had from where they are kept, for this reason."""

    upstream: str
    reason: str


@dataclass(frozen=True, slots=True)
class VisibilityAsked:
    """An upstream was asked whether anybody may read a repository.

    Outcome is `public`, `private`, `missing` (what it was asked by is not there) or `untold`.
    """

    upstream: str
    outcome: str
