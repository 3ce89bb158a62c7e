"""The real registry of the distribution project as a process on loopback."""

import datetime
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.content import FakeImage, FakeIndex

EXECUTABLE = Path("/usr/bin/docker-registry")
START_TIMEOUT = 60.0


class RealRegistry:
    """A running registry; content is pushed to it by plain HTTP."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"
        self._pushed: set[str] = set()

    def add_image(self, repository: str, tag: str, content: FakeImage | FakeIndex) -> None:
        """Push an image or index with all it names; what is there already is not pushed again."""
        target = f"{repository}:{tag}@{content.digest}"
        if target not in self._pushed:
            self._add(repository, content)
            self._put_manifest(repository, tag, content)
            self._pushed.add(target)

    def _add(self, repository: str, content: FakeImage | FakeIndex) -> None:
        if isinstance(content, FakeIndex):
            for image in content.images:
                self._add(repository, image)
                self._put_manifest(repository, image.digest, image)
        else:
            for blob in content.blobs:
                self._put_blob(repository, blob.digest, blob.data)

    def _put_blob(self, repository: str, digest: str, data: bytes) -> None:
        location = urlsplit(self._call("POST", f"/v2/{repository}/blobs/uploads/", b"", {}, 202))
        target = f"{location.path}?{location.query}&digest={digest}"
        self._call("PUT", target, data, {"Content-Type": "application/octet-stream"}, 201)

    def _put_manifest(self, repository: str, reference: str, content: FakeImage | FakeIndex) -> None:
        headers = {"Content-Type": content.manifest.media_type}
        self._call("PUT", f"/v2/{repository}/manifests/{reference}", content.manifest.data, headers, 201)

    def _call(self, method: str, target: str, body: bytes, headers: dict[str, str], expected: int) -> str:
        connection = HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status == expected, (method, target, response.status, text)
            return response.headers.get("Location", "")
        finally:
            connection.close()


@contextmanager
def real_registry(folder: Path, auth: dict[str, object] | None = None) -> Iterator[RealRegistry]:
    """Run a registry that keeps its data in this folder, with this `auth` section."""
    port = _free_port()
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "fixed"},
    }
    file = folder / "config.yml"
    file.write_text(yaml.safe_dump(config | ({"auth": auth} if auth else {})))
    process = subprocess.Popen(
        [EXECUTABLE, "serve", file],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"OTEL_TRACES_EXPORTER": "none"},
    )
    try:
        _wait_until_listening(process, port)
        yield RealRegistry(port)
    finally:
        process.terminate()
        process.wait(10)


def basic_auth(folder: Path, user: str, password: str) -> dict[str, object]:
    """The `auth` section for one user known by password."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    file = folder / "htpasswd"
    file.write_text(f"{user}:{hashed}\n")
    return {"htpasswd": {"realm": "fake-registry", "path": str(file)}}


def token_auth(folder: Path, realm: str, service: str) -> dict[str, object]:
    """The `auth` section for tokens from elsewhere; its certificate signs nothing, only challenges are tested."""
    file = folder / "token.pem"
    file.write_bytes(_self_signed())
    settings = {"realm": realm, "service": service, "issuer": "nobody", "rootcertbundle": str(file)}
    return {"token": settings}


def _self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert process.poll() is None, "the registry ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the registry did not listen in time")
