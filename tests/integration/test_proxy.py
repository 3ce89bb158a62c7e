"""An upstream behind a proxy: everything of it goes through there, and each side gets its own credentials only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mirror.upstream.auth import credentials
from tests.fakes import content
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.proxy import FakeProxy
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.command import configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.tls import server_context, trusting

IMAGE = content.image(layers=1)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/library/alpine/manifests/3.20"
BLOB = f"/v2/library/alpine/blobs/{LAYER.digest}"
PASSWORD, PROXY_PASSWORD = "canary-5ecret", "canary-pr0xy"


@pytest.fixture
async def proxy(registry: FakeRegistry, token_service: FakeTokenService) -> AsyncIterator[FakeProxy]:
    """A proxy that knows names for the fakes, which nobody else does."""
    registry.add_image("library/alpine", "3.20", IMAGE)
    names = {"registry.test": registry.port, "tokens.test": token_service.port}
    async with FakeProxy(names) as running:
        yield running


def behind(proxy: FakeProxy | dict[str, str] | str, **fields: Any) -> dict[str, Any]:
    """An upstream on the public Internet, as far as can be seen from its address, behind the proxy."""
    given = proxy.url if isinstance(proxy, FakeProxy) else proxy
    return {"docker.io": {"endpoints": ["http://registry.test"], "proxy": given, **fields}}


async def status_of(mirror: RunningMirror, path: str = MANIFEST) -> tuple[int, bytes]:
    """The status of an answer and its body; if it is an error, with what every error has."""
    response, body = await mirror.get(path)
    assert response.status == 200 or error_code(body)
    return response.status, body


async def test_registry_token_service_and_cdn_are_reached_through_the_proxy(
    start_mirror: StartMirror, proxy: FakeProxy, registry: FakeRegistry, token_service: FakeTokenService, cdn: FakeCDN
) -> None:
    registry.auth = TokenAuth(token_service, realm="http://tokens.test/token")
    registry.redirect_blobs(cdn)
    async with start_mirror(upstreams=behind(proxy, private_network=True)) as mirror:
        assert await status_of(mirror) == (200, IMAGE.manifest.data)
        assert await status_of(mirror, BLOB) == (200, LAYER.data)
    assert proxy.targets[:3] == [
        f"HEAD http://registry.test{MANIFEST}",
        "GET http://tokens.test/token",
        f"HEAD http://registry.test{MANIFEST}",
    ]
    assert proxy.targets[-1].startswith(f"GET {cdn.url}/")
    # As many requests as went through it: nobody was asked past it.
    assert registry.accepted + token_service.accepted + cdn.accepted == len(proxy.targets)


async def test_names_are_the_proxy_s_to_resolve_and_its_own_address_may_be_private(
    start_mirror: StartMirror, proxy: FakeProxy
) -> None:
    async with start_mirror(upstreams=behind(proxy)) as mirror:
        assert await status_of(mirror) == (200, IMAGE.manifest.data)


PRIVATE = [
    "http://127.0.0.1:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://2130706433:{port}",
    "http://localhost:{port}",
]


@pytest.mark.parametrize("target", PRIVATE)
async def test_a_private_target_is_refused_before_the_proxy_hears_of_it(
    start_mirror: StartMirror, proxy: FakeProxy, registry: FakeRegistry, target: str
) -> None:
    location = f"{target.format(port=registry.port)}/secret"
    registry.always("*", lambda _: Answer(307, (("Location", location),)))
    async with start_mirror(upstreams=behind(proxy)) as mirror:
        assert (await status_of(mirror))[0] == 502
        direct = behind(proxy, endpoints=[target.format(port=registry.port)])
    async with start_mirror(upstreams=direct) as mirror:
        assert (await status_of(mirror))[0] == 502
    assert proxy.targets == [f"HEAD http://registry.test{MANIFEST}"]


async def test_the_proxy_s_password_is_for_the_proxy_alone(
    start_mirror: StartMirror,
    proxy: FakeProxy,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.0)
    (tmp_path / "proxy-password").write_text("old")
    proxy.login = ("mirror", PROXY_PASSWORD)
    given = {"url": proxy.url, "username": "mirror", "password_file": str(tmp_path / "proxy-password")}
    async with start_mirror(upstreams=behind(given)) as mirror:
        assert (await status_of(mirror))[0] == 502
        assert not journal.entries
        # A rotated password is picked up.
        (tmp_path / "proxy-password").write_text(PROXY_PASSWORD)
        assert await status_of(mirror, BLOB) == (200, LAYER.data)
    assert journal.entries
    assert not [entry for entry in journal.entries if entry.header("Proxy-Authorization")]


@pytest.mark.parametrize("answered", [403, 407, 502])
async def test_what_a_proxy_says_instead_of_a_tunnel_is_no_word_of_the_registry(
    start_mirror: StartMirror, proxy: FakeProxy, answered: int
) -> None:
    proxy.status = answered
    upstreams = behind(proxy, endpoints=["https://registry.test"])
    async with start_mirror(upstreams=upstreams) as mirror:
        status, body = await status_of(mirror)
        assert status == 502
        assert f"its proxy answered {answered}".encode() in body
    assert proxy.targets == ["CONNECT registry.test:443"]


async def test_a_proxy_that_is_not_there_is_an_upstream_out_of_reach(
    start_mirror: StartMirror, proxy: FakeProxy
) -> None:
    upstreams = behind("http://127.0.0.1:1")
    async with start_mirror(upstreams=upstreams) as mirror:
        status, body = await status_of(mirror)
    assert status == 502
    assert b"its proxy: connection refused" in body


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_through_a_tunnel_the_proxy_sees_no_more_than_the_host(
    journal: Journal, tmp_path: Path, scheme: str
) -> None:
    context = server_context(tmp_path)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "proxy-password").write_text(PROXY_PASSWORD)
    async with (
        FakeProxy(login=("mirror", PROXY_PASSWORD), tls=context if scheme == "https" else None) as proxy,
        FakeTokenService(journal, name="safe", tls=context) as tokens,
        FakeRegistry(journal, TokenAuth(tokens), "secure", context) as secure,
    ):
        secure.add_image("library/alpine", "3.20", IMAGE)
        tokens.accounts = {"ci": PASSWORD}
        tokens.restrict("library/*", "ci")
        upstream = {
            **docker_io(secure, tokens),
            "proxy": {
                "url": proxy.url,
                "username": "mirror",
                "password_file": str(tmp_path / "proxy-password"),
            },
            "credentials": {"username": "ci", "password_file": str(tmp_path / "password")},
            "serve_private": "everyone",
        }
        config = configuration(secure, tokens, tmp_path, upstreams={"docker.io": upstream})
        async with serving(config, tmp_path, trusting(tmp_path)) as mirror:
            for path, data in ((MANIFEST, IMAGE.manifest.data), (BLOB, LAYER.data)):
                response, body = await mirror.get(path)
                assert (response.status, body) == (200, data)
            assert PROXY_PASSWORD not in "".join(mirror.log)
        assert set(proxy.targets) == {f"CONNECT {secure.host}", f"CONNECT {tokens.host}"}
    assert not [request for request in proxy.requests if request.header("Authorization")]
    assert journal.count(host="safe", authorization="basic") == 1
    assert not [entry for entry in journal.entries if entry.header("Proxy-Authorization")]
