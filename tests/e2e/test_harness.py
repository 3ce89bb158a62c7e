"""The parts of the harness without the mirror: when one of these fails, the other tests say nothing."""

import json
import signal
from pathlib import Path

import pytest

from .docker import DockerError, StartDocker
from .http_client import Answer, ask, basic
from .hub import Hub
from .images import Image, Index
from .journal import Request
from .process import Service, ServiceError, answers, free_port, wait_until
from .push import PushError, push
from .registry import READER, RealRegistry
from .skopeo import Skopeo, SkopeoError
from .token_service import SERVICE, TokenRequest, TokenService

SCOPE = "repository:library/small:pull"


def ask_token(tokens: TokenService, service: str, scope: str, headers: dict[str, str] | None = None) -> Answer:
    return ask("GET", f"{tokens.realm}?service={service}&scope={scope}", headers=headers)


def test_a_service_that_ends_at_its_start_shows_its_log(tmp_path: Path) -> None:
    service = Service(["/bin/sh", "-c", "echo no such luck; exit 3"], tmp_path / "log", lambda: False)
    with pytest.raises(ServiceError, match=r"ended with 3 at its start:\nno such luck"):
        service.start()


def test_a_stopped_service_refuses_a_frozen_one_hangs(open_registry: RealRegistry) -> None:
    open_registry.freeze()
    with pytest.raises(TimeoutError):
        ask("GET", f"{open_registry.url}/v2/", timeout=0.5)
    open_registry.thaw()
    assert answers(f"{open_registry.url}/v2/")
    open_registry.stop()
    with pytest.raises(ConnectionRefusedError):
        ask("GET", f"{open_registry.url}/v2/")
    open_registry.start()
    assert answers(f"{open_registry.url}/v2/")


def test_a_frozen_service_can_be_stopped(open_registry: RealRegistry) -> None:
    open_registry.freeze()
    open_registry.stop()
    assert not open_registry.is_running


def test_a_service_takes_its_children_along(tmp_path: Path) -> None:
    service = Service(["/bin/sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"], tmp_path / "log", lambda: True)
    with service:
        wait_until(lambda: service.log_text().endswith("\n"))
        child = Path(f"/proc/{service.log_text().strip()}/stat")
    wait_until(lambda: not child.exists() or " Z " in child.read_text())
    assert service.stop() == -signal.SIGTERM


def test_an_open_registry_keeps_a_journal(open_registry: RealRegistry, small: Image) -> None:
    digest = push(open_registry.url, "library/small", "latest", small)
    manifest = f"/v2/library/small/manifests/{digest}"
    answer = ask("GET", open_registry.url + manifest, headers={"Accept": small.manifest.media_type})
    assert (answer.status, answer.body) == (200, small.manifest.data)
    assert open_registry.journal()[-1] == Request("GET", manifest, 200)


def test_a_password_file_admits_its_user_only(private_registry: RealRegistry, small: Image) -> None:
    with pytest.raises(PushError, match="got 401"):
        push(private_registry.url, "library/small", "latest", small, basic(READER.username, "wrong"))
    right = basic(READER.username, READER.password)
    push(private_registry.url, "library/small", "latest", small, right)
    tags = f"{private_registry.url}/v2/library/small/tags/list"
    assert ask("GET", tags).status == 401
    assert ask("GET", tags, headers=right).status == 200


def test_the_registry_takes_the_tokens_of_the_service(hub: Hub, small: Image) -> None:
    hub.registry.fill("library/small", "latest", small)
    tag = f"{hub.registry.url}/v2/library/small/manifests/latest"
    refused = ask("HEAD", tag)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == (
        f'Bearer realm="{hub.tokens.realm}",service="{SERVICE}",scope="{SCOPE}"'
    )
    token = json.loads(ask_token(hub.tokens, SERVICE, SCOPE).body)["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    granted = ask("HEAD", tag, headers={**bearer, "Accept": small.manifest.media_type})
    assert (granted.status, granted.headers["Docker-Content-Digest"]) == (200, small.manifest.digest)
    elsewhere = ask("GET", f"{hub.registry.url}/v2/other/tags/list", headers=bearer)
    assert elsewhere.status == 401


@pytest.mark.parametrize(
    ("service", "scope", "status"),
    [
        (SERVICE, SCOPE, 200),
        (SERVICE, "repository:library/small:pull,push", 403),
        (SERVICE, "registry:catalog:*", 403),
        (SERVICE, "", 403),
        ("another", SCOPE, 400),
    ],
)
def test_the_token_service_grants_pull_only(hub: Hub, service: str, scope: str, status: int) -> None:
    assert ask_token(hub.tokens, service, scope).status == status
    assert hub.tokens.journal()[-1] == TokenRequest((scope,), "", status)


def test_a_token_service_may_know_its_users(tmp_path: Path) -> None:
    with TokenService(tmp_path / "tokens", {"reader": "secret"}) as tokens:
        assert ask_token(tokens, SERVICE, SCOPE).status == 401
        assert ask_token(tokens, SERVICE, SCOPE, basic("reader", "wrong")).status == 401
        assert ask_token(tokens, SERVICE, SCOPE, basic("reader", "secret")).status == 200
        assert tokens.journal()[-1] == TokenRequest((SCOPE,), "reader", 200)


def test_docker_pulls_from_a_registry_mirror(
    open_registry: RealRegistry, small: Image, multi: Index, start_docker: StartDocker
) -> None:
    open_registry.fill("library/small", "latest", small)
    open_registry.fill("library/multi", "latest", multi)
    docker = start_docker(open_registry.url)
    images = {"library/small": small, "library/multi": multi.image_for(docker.architecture())}
    for name, image in images.items():
        docker.pull(name)
        assert docker.image_id(name) == image.config.digest
        assert docker.layers(name) == image.diff_ids
        docker.remove(name)
    assert not docker.fell_back()
    assert {f"/v2/library/small/blobs/{blob.digest}" for blob in small.blobs} <= {
        request.path for request in open_registry.journal()
    }


def test_docker_without_its_mirror_finds_no_docker_hub(start_docker: StartDocker) -> None:
    docker = start_docker(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DockerError, match=r"127\.0\.0\.3:443: connect: connection refused"):
        docker.pull("library/small")
    assert docker.fell_back()


def test_skopeo_copies_with_a_token(hub: Hub, small: Image, skopeo_client: Skopeo, tmp_path: Path) -> None:
    hub.registry.fill("library/small", "latest", small)
    source = f"docker://127.0.0.1:{hub.registry.port}/library/small"
    skopeo_client.copy(source, f"dir:{tmp_path}/copy")
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == small.manifest.data
    with pytest.raises(SkopeoError, match="manifest unknown"):
        skopeo_client.copy(f"{source}:absent", f"dir:{tmp_path}/absent")
