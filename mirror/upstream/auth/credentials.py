"""Credentials of one endpoint: obtained when they are needed, kept for a while, and anew when they are refused."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mirror.errors import CredentialsUnavailable
from mirror.proxy.events.access import CredentialsUnreadable
from mirror.proxy.events.observer import Observer
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks

KEEP_SECONDS = 300.0
"""How long a credential is used before its source is looked at again: secrets are rotated."""

PAUSE_SECONDS = 10.0
"""Least time between two looks at a source, whatever is refused or fails meanwhile."""


class NoCredential(Exception):
    """A source has none to give; the text says why, for the operator, and holds no secret."""


class NoEntry(NoCredential):
    """A source that is well knows nobody at this registry."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a secret; or an identity token, which is good for nothing but to be exchanged for tokens.

    Raises NoCredential when constructed from what cannot be sent: JSON can spell halves of characters.
    """

    username: str
    password: str = field(repr=False)
    is_identity_token: bool = False

    def __post_init__(self) -> None:
        try:
            (self.username + self.password).encode()
        except UnicodeEncodeError:
            raise NoCredential("the user name or the password is not text") from None

    @property
    def basic(self) -> str | None:
        """The Authorization header of the Basic scheme (RFC 7617), None for an identity token and for anybody."""
        if self.is_identity_token or self is ANYBODY:
            return None
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


ANYBODY = Credential("", "")
"""Who asks where there are no credentials."""


class CredentialSource(Protocol):
    """Where a credential is kept."""

    async def read(self) -> Credential:
        """Return the credential as it is now; raises NoCredential."""


class PasswordFile:
    """A user name from the configuration, and a password that `read_password` reads."""

    def __init__(self, username: str, read_password: Callable[[], str]) -> None:
        self._username = username
        self._read_password = read_password

    async def read(self) -> Credential:
        """Return the credential with the password as it is in the file now."""
        try:
            password = await asyncio.to_thread(self._read_password)
        except (OSError, UnicodeDecodeError) as error:
            raise NoCredential(f"password_file cannot be read: {_reason(error)}") from None
        if not password:
            raise NoCredential("password_file is empty")
        return Credential(self._username, password)


class OrAnybody:
    """A source that has to know nobody: an accelerator is of use without credentials as well."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source

    async def read(self) -> Credential:
        """Return the credential, or that of anybody where there is none; raises NoCredential if that cannot be told."""
        try:
            return await self._source.read()
        except NoEntry:
            return ANYBODY


class Credentials:
    """What a source gives, remembered. One look at it for any number of waiters."""

    def __init__(
        self,
        upstream: str,
        source: CredentialSource,
        tasks: Tasks,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream = upstream
        self._source = source
        self._observer = observer
        self._clock = clock
        self._flights = SingleFlight[None](tasks)
        self._known: Credential | None = None
        self._failed = False
        self._looked_at = -KEEP_SECONDS

    async def current(self) -> Credential:
        """Return the credential; where its source fails, the one it gave before, for the registry to judge.

        Raises CredentialsUnavailable if there never was one.
        """
        if self._known is not None and self._age() < KEEP_SECONDS:
            return self._known
        try:
            return await self._look()
        except CredentialsUnavailable:
            if self._known is None:
                raise
            return self._known

    async def renewed(self, refused: Credential) -> Credential:
        """Return another credential than the refused one; the same if there is no other.

        Raises CredentialsUnavailable if that cannot be told.
        """
        if self._known is not None and self._known != refused:
            return self._known
        return await self._look()

    def _age(self) -> float:
        return self._clock() - self._looked_at

    async def _look(self) -> Credential:
        if self._age() >= PAUSE_SECONDS:
            await self._flights.run(None, self._read)
        if self._failed or self._known is None:
            raise CredentialsUnavailable("the mirror's credentials for this upstream cannot be had; its log says why")
        return self._known

    async def _read(self) -> None:
        try:
            self._known = await self._source.read()
            self._failed = False
        except NoCredential as error:
            self._failed = True
            self._observer.notify(CredentialsUnreadable(self._upstream, str(error)))
        finally:
            self._looked_at = self._clock()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "not text"
