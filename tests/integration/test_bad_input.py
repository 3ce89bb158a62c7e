"""Challenges, tokens and redirects that are cut, huge or contradict themselves: few requests, a clear error, no trace.

What is merely nonsense is in test_auth, test_token_faults and test_redirects.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.faults import both
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import StartMirror

GOOD = 'Bearer realm="{realm}",service="{service}",scope="{scope}"'
CANARY = "canary"
LONGEST_MESSAGE = 400


class Told:
    """What the log tells: never of a bug, nor what an upstream said."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def causes(self) -> int:
        """How many lines since the last time tell a cause."""
        written = "".join(self._capfd.readouterr())
        assert "Traceback" not in written
        assert "bug" not in written
        assert CANARY not in written
        return written.count("cause=")


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    return Told(capfd)


class Cases:
    """Mirrors that know nothing yet, of one cache, and for each an image that is nowhere yet."""

    def __init__(self, start_mirror: StartMirror, registry: FakeRegistry, folder: CacheFolder) -> None:
        self._start_mirror = start_mirror
        self._registry = registry
        self._folder = folder
        self._serial = 0
        self._kept: set[str] = set()

    @property
    def next_path(self) -> str:
        """What will be asked for next."""
        return f"/v2/owner/app{self._serial + 1}/manifests/1.0"

    async def pull(self, status: int, name: str, heal: Callable[[], object]) -> None:
        """Pull the image, which must end with this status; once `heal` was called, what was not asked for yet works.

        An error must be a clear one. Nothing is kept but what clients got.
        """
        path = self.next_path
        self._serial += 1
        image, repository = content.image(layers=1, seed=self._serial), f"owner/app{self._serial}"
        self._registry.add_image(repository, "1.0", image)
        self._registry.journal.clear()
        async with self._start_mirror() as mirror:
            response, body = await mirror.get(path)
            assert response.status == status, name
            if status == 200:
                assert body == image.manifest.data, name
                self._kept.add(image.digest)
            else:
                error_code(body)
                assert CANARY not in f"{body!r}{response.headers}", name
                assert len(json.loads(body)["errors"][0]["message"]) < LONGEST_MESSAGE, name
            assert self._folder.digests() == self._kept, name
            entries = list(self._registry.journal.entries)
            heal()
            layer = image.layers[0]
            response, body = await mirror.get(f"/v2/{repository}/blobs/{layer.digest}")
            assert (response.status, body) == (200, layer.data), name
            self._kept.add(layer.digest)
            self._registry.journal.entries[:] = entries


@pytest.fixture
def cases(start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder) -> Cases:
    return Cases(start_mirror, registry, cache_folder)


# Challenges. ---------------------------------------------------------------------------------------------


def folded(template: str) -> Fault:
    """A challenge with a line break in it, as HTTP once allowed."""
    head = f"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: {template}\r\n\r\n"
    return faults.raw(head.encode())


MANY = ", ".join(f'Bearer realm="http://127.0.0.1:1/{number}"' for number in range(700))
SCOPES = " ".join(f"repository:a/{number}:pull" for number in range(300))
CHALLENGES: dict[str, tuple[str | tuple[str, ...], int, int]] = {
    "hundreds in a line": (f"{GOOD}, {MANY}", 200, 1),
    "thousands in a hundred lines": ((GOOD, *[MANY] * 100), 200, 1),
    "more lines than a head may have": (("Negotiate",) * 10_000, 502, 0),
    "a line longer than any may be": (f"{GOOD}, {MANY}{MANY}", 502, 0),
    "other realms behind the first": ((GOOD, 'Bearer realm="http://127.0.0.1:1/"', 'Basic realm="x"'), 200, 1),
    "a second realm in the same": (f'{GOOD},realm="http://127.0.0.1:1/"', 200, 1),
    "a realm that is none before one that is": (('Bearer realm="/token"', GOOD), 200, 1),
    "a realm with a password": (f'Bearer realm="http://user:{CANARY}@127.0.0.1/token"', 502, 0),
    "a realm of a host longer than any": (f'Bearer realm="http://{CANARY * 500}/token"', 502, 0),
    "a realm of a host that is encoded": (f'Bearer realm="http://{CANARY}%0d%0a/token"', 502, 0),
    "a control in the realm": ('Bearer realm="http://127.0.0.1/\x01"', 502, 0),
    "letters that are no ASCII": (f'{GOOD},comment="na\u00efve"', 200, 1),
    "the scope of another repository": (GOOD.replace("{scope}", "repository:owner/other:pull"), 403, 1),
    "many scopes": (GOOD.replace("{scope}", "{scope} " + SCOPES), 200, 2),
    "the same scope many times": (GOOD.replace("{scope}", "{scope} " * 100), 200, 1),
    "cut in the realm": (GOOD[:20], 502, 0),
}


async def test_a_challenge_costs_a_token_or_two(
    cases: Cases, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal, told: Told
) -> None:
    def heal() -> None:
        registry.auth = TokenAuth(token_service)

    for name, (challenge, status, tokens) in CHALLENGES.items():
        registry.auth = TokenAuth(token_service, challenge=challenge)
        await cases.pull(status, name, heal)
        assert token_service.requests() == tokens, name
        assert journal.count(host="registry", status=401) == (2 if status == 403 else 1), name
        assert told.causes() == (0 if status == 200 else 1), name


async def test_a_challenge_over_several_lines_is_none_or_understood(
    cases: Cases, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    template = f'Bearer realm="{token_service.realm}",\r\n\tservice="{token_service.service}"'
    registry.always("/v2/*", folded(template))
    await cases.pull(403, "folded", registry.heal)
    assert token_service.requests() <= 1
    assert journal.count(host="registry") <= 2


# Tokens. -------------------------------------------------------------------------------------------------


def rewritten(text: str) -> Fault:
    """Another document, in which TOKEN stands for the token that was issued."""

    def rewrite(answer: Answer) -> Answer:
        return replace(answer, body=text.replace("TOKEN", json.loads(answer.body)["token"]).encode())

    return rewrite


TOKENS: dict[str, tuple[Fault, int]] = {
    "60 KiB": (rewritten('{"access_token": "TOKEN", "padding": "' + "x" * 60_000 + '"}'), 200),
    "the same key again": (rewritten('{"token": "other", "token": "TOKEN", "expires_in": -1, "expires_in": 60}'), 200),
    "two tokens that differ": (rewritten('{"token": "TOKEN", "access_token": "other"}'), 200),
    "a token and half a token": (rewritten('{"token": "TOKEN", "access_token": "a\\r\\nb"}'), 200),
    "half a token and a token": (rewritten('{"token": "a\\r\\nb", "access_token": "TOKEN"}'), 502),
    "deep beside it": (rewritten('{"token": "TOKEN", "x": ' + "[" * 900 + "]" * 900 + "}"), 200),
    "too deep beside it": (rewritten('{"token": "TOKEN", "x": ' + "[" * 30_000 + "]" * 30_000 + "}"), 502),
    "a lifetime of 5000 digits": (rewritten('{"token": "TOKEN", "expires_in": ' + "9" * 5000 + "}"), 502),
    "a lifetime of a trillionth": (rewritten('{"token": "TOKEN", "expires_in": 1e-12}'), 200),
    "issued tomorrow": (rewritten('{"token": "TOKEN", "issued_at": "2999-01-01T00:00:00Z"}'), 200),
    "issued long ago": (rewritten('{"token": "TOKEN", "issued_at": "1970-01-01T00:00:00Z", "expires_in": 60}'), 200),
    "issued at no time": (rewritten('{"token": "TOKEN", "issued_at": [1e999, NaN]}'), 200),
    "a byte order mark": (rewritten('\ufeff{"token": "TOKEN"}'), 502),
    "more behind it": (rewritten('{"token": "TOKEN"}{"token": "TOKEN"}'), 502),
    "a 418": (faults.status(418), 502),
    "a 300": (faults.status(300), 502),
    "a redirect to itself": (both(faults.status(307), faults.header("Location", "")), 502),
    "a redirect that grows": (both(faults.status(307), faults.header("Location", "?" + "x" * 20_000)), 502),
}


async def test_an_answer_of_a_token_service_is_a_token_or_an_error(
    cases: Cases, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal, told: Told
) -> None:
    registry.auth = TokenAuth(token_service)
    for name, (fault, status) in TOKENS.items():
        token_service.always("*", fault)
        await cases.pull(status, name, token_service.heal)
        assert journal.count(host="registry", status=401) == 1, name
        assert token_service.requests() <= 6, name
        assert told.causes() == (0 if status == 200 else 1), name


# Redirects. ----------------------------------------------------------------------------------------------

AGAIN = "?" + "x" * 4000


def bouncing(to: str) -> Fault:
    """Whatever was asked for is over there."""
    return both(faults.answer_with(307, b""), faults.header("Location", to))


REDIRECTS: dict[str, tuple[str, str]] = {
    "to and fro": ("{cdn}/bounce", "{registry}{path}"),
    "to and fro, longer each time": (f"{{cdn}}/bounce{AGAIN}", f"{{registry}}{{path}}{AGAIN}{AGAIN}"),
    "a host longer than any": (f"http://{CANARY * 4000}/", ""),
    "a host that is encoded": (f"http://{CANARY}%0d%0aX-Evil:1/", ""),
    "a host with a control": (f"http://{CANARY}\x1b[31m/", ""),
    "a longer address than a header may hold": (f"{{cdn}}/{'x' * 40_000}", ""),
    "an address of the mirror's own machine": ("http://127.0.0.1:1/", ""),
}


async def test_a_redirect_ends_after_a_few_hops_and_names_nothing_that_upstream_made_up(
    cases: Cases, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, told: Told
) -> None:
    def heal() -> None:
        registry.heal()
        cdn.heal()

    for name, (there, back) in REDIRECTS.items():
        path = cases.next_path
        places = {"cdn": cdn.url, "registry": registry.url, "path": path}
        registry.always(path, bouncing(there.format(**places)))
        cdn.always("*", bouncing(back.format(**places)))
        await cases.pull(502, name, heal)
        assert len(journal.entries) <= 6, name
        assert told.causes() == 1, name
