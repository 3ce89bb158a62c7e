"""A storm of answers made of pieces that belong elsewhere: whatever comes, a clear end after a few requests."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.faults import both
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import check_cache_status, error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import StartMirror

HOUR = 3600
MOST_REQUESTS = 8
"""A challenge, a token, the question again, and five redirects."""

Chance = random.Random
Odd = Callable[[Chance, str, str], Fault]
"""Makes a fault of chance, an address where somebody listens, and another one."""


def shuffled(chance: Chance, pieces: list[str], most: int = 14) -> str:
    """Some of the pieces, in any order, again and again."""
    return "".join(chance.choice(pieces) for _ in range(chance.randrange(most)))


def challenge(chance: Chance, here: str, there: str) -> Fault:
    pieces = [
        "Bearer ",
        "Basic ",
        "realm=",
        f'"{here}/token"',
        f'"{there}/token"',
        here,
        '"',
        ",",
        " ",
        "=",
        "\\",
        "\t",
    ]
    pieces += [
        'service="fake-registry"',
        'scope="repository:library/app:pull"',
        'scope="repository:a:*"',
        "\u00e9",
        "/",
    ]
    lines = [shuffled(chance, pieces, 20) for _ in range(chance.randrange(1, 4))]
    return both(faults.answer_with(401, b""), *(faults.repeated_header("WWW-Authenticate", line) for line in lines))


def token(chance: Chance, here: str, there: str) -> Fault:
    values: list[object] = [None, True, 0, -1, 0.5, 10**30, "", "x", "a\r\nb", "\u2603", [], {}, 1e300, "60", [[[[]]]]]
    names = ["token", "access_token", "expires_in", "issued_at", "refresh_token", "error"]

    def spoil(answer: Answer) -> Answer:
        real = json.loads(answer.body).get("token")
        given = {chance.choice(names): chance.choice([*values, real, real]) for _ in range(4)}
        text = json.dumps(given)
        if chance.random() < 0.3:
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(["", "}", '"', ",", "\0", "NaN", text]) + text[at + chance.randrange(3) :]
        return replace(answer, body=text.encode())

    return spoil


def redirect(chance: Chance, here: str, there: str) -> Fault:
    pieces = ["http:", "https:", "//", "/", "?", "#", "@", "..", "%", "%2f", "\\", ":", "[", "]", "x", here, there, " "]
    status = chance.choice([300, 301, 302, 303, 304, 307, 308])
    return both(faults.answer_with(status, b""), faults.header("Location", shuffled(chance, pieces)))


def limit(chance: Chance, here: str, there: str) -> Fault:
    values = [
        "",
        "0",
        "-1",
        "1e9",
        "1000000000",
        "soon",
        "100;w=21600",
        "0;w=-1",
        ";;;",
        "w=",
        "NaN",
        "\u00e9",
        "," * 50,
    ]
    values += [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 -0000",
        "9" * 400,
    ]
    names = [
        "Retry-After",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "docker-ratelimit-source",
        "Date",
    ]
    sent = (faults.repeated_header(chance.choice(names), chance.choice(values)) for _ in range(6))
    return both(faults.status(chance.choice([429, 429, 503, 500, 403])), *sent)


class NoNames(AbstractResolver):
    """Nothing that was made up resolves, and nobody is asked."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("odd", "mirrors", "answers"),
    # An upstream that limits requests is left alone for a while.
    [(challenge, 3, 12), (token, 3, 12), (redirect, 3, 12), (limit, 12, 2)],
)
async def test_whatever_comes_there_is_a_clear_end_after_a_few_requests(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    cdn: FakeCDN,
    journal: Journal,
    cache_folder: CacheFolder,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    odd: Odd,
    mirrors: int,
    answers: int,
) -> None:
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: NoNames())
    # That the registry is alive is never in doubt, else it would not be asked any more.
    registry.auth = TokenAuth(token_service, ping_needs_token=False)
    chance = random.Random(odd.__name__)
    origin, where = (token_service, "*") if odd is token else (registry, "/v2/library/*")
    asked, kept = 0, set[str]()
    for serial in range(mirrors):
        async with start_mirror() as mirror:
            for number in range(answers):
                tag = f"{serial}.{number}"
                image = content.image(layers=1, seed=tag)
                registry.add_image("library/app", tag, image)
                origin.always(where, odd(chance, token_service.url, cdn.url))
                journal.clear()
                response, body = await mirror.get(f"/v2/library/app/manifests/{tag}")
                origin.heal()
                told = f"{[str(entry) for entry in journal.entries]} {response.status} {body!r}"
                assert response.status in {200, 403, 404, 502, 503}, told
                assert len(journal.entries) <= MOST_REQUESTS, told
                check_cache_status(response.headers["Cache-Status"])
                assert body == image.manifest.data if response.status == 200 else error_code(body), told
                kept |= {image.digest} if response.status == 200 else set()
                assert 0 <= int(response.headers.get("Retry-After", "0")) <= HOUR, told
                asked += bool(journal.entries)
                # What a redirect leads to is nobody's to prepare.
                journal.expect_unknown()
    assert asked == mirrors * answers if odd is not limit else asked >= mirrors
    assert "bug" not in "".join(capfd.readouterr())
    assert cache_folder.digests() == kept
    async with start_mirror() as mirror:
        layer = image.layers[0]
        response, body = await mirror.get(f"/v2/library/app/blobs/{layer.digest}")
        assert (response.status, body) == (200, layer.data)
