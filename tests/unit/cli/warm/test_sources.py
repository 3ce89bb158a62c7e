from __future__ import annotations

import io
from pathlib import Path

import pytest

from mirror.cli.warm.found import Unreadable
from mirror.cli.warm.sources import LARGEST, FileKind, images_of, kind_of


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("Dockerfile", "", FileKind.DOCKERFILE),
        ("Dockerfile.prod", "", FileKind.DOCKERFILE),
        ("app.dockerfile", "", FileKind.DOCKERFILE),
        ("Containerfile", "", FileKind.DOCKERFILE),
        ("compose.yaml", "", FileKind.COMPOSE),
        ("docker-compose.prod.yml", "", FileKind.COMPOSE),
        ("x.yaml", "apiVersion: v1\nkind: Pod", FileKind.KUBERNETES),
        ("x.yaml", "apiVersion: v1\nkind: X\nservices: {}", FileKind.KUBERNETES),
        ("x.yaml", "services:\n  a: {}", FileKind.COMPOSE),
        ("x.json", '{\n  "kind": "List"}', FileKind.KUBERNETES),
        ("x.json", '{"apiVersion": "v1"}', FileKind.KUBERNETES),
        ("-", "ARG X=1\nFROM a", FileKind.DOCKERFILE),
        ("-", "alpine:3.20\n# FROM what we use\nnginx", FileKind.LIST),
        ("images.txt", "", FileKind.LIST),
        ("dockerfiles.txt", "a", FileKind.LIST),
    ],
)
def test_a_file_is_what_its_name_and_its_content_say(name: str, text: str, kind: FileKind) -> None:
    assert kind_of(name, text) is kind


def test_a_list_has_a_name_a_line_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "images"
    file.write_text("# ours\nalpine:3.20   # small\n\n  nginx\nnginx\nodd#name\n")
    assert list(images_of(str(file), None, {}).images) == ["alpine:3.20", "nginx", "odd#name"]


@pytest.mark.parametrize("name", ["values.yaml", "x.YML", "package.json"])
def test_a_document_of_another_kind_is_not_taken_for_a_list(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("alpine:3.20\n")
    with pytest.raises(Unreadable, match="neither a Compose file nor a Kubernetes manifest"):
        images_of(str(file), None, {})
    assert list(images_of(str(file), FileKind.LIST, {}).images) == ["alpine:3.20"]


@pytest.mark.parametrize(
    "text",
    ["a:1\r\nb\r\n", "services:\r\n  x: {image: 'a:1'}\r\n  y:\r\n    image: b\r\n", "FROM a:1\r\nFROM b"],
    ids=["list", "compose", "dockerfile"],
)
def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(text.encode("utf-8-sig"))
    assert list(images_of(str(file), None, {}).images) == ["a:1", "b"]


def test_variables_of_a_compose_file_have_values_from_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=3.20\nDB=16\n")
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: 'alpine:$TAG'}, b: {image: 'postgres:$DB'}, c: {image: 'redis:$NO'}}")
    found = images_of(str(file), None, {"DB": "17"})
    assert list(found.images) == ["alpine:3.20", "postgres:17"]
    assert len(found.skipped) == 1
    (tmp_path / ".env").write_bytes(b"\xff")
    assert list(images_of(str(file), None, {"DB": "17"}).images) == ["postgres:17"]


def test_what_is_said_of_a_file_goes_before_what_it_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("alpine\n")
    assert list(images_of(str(file), FileKind.LIST, {}).images) == ["alpine"]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"FROM a")))
    assert list(images_of("-", None, {}).images) == ["a"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"\xff\xfe", "not text"), (b"a\n" * LARGEST, "larger than 16 MiB")],
    ids=["missing", "binary", "large"],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        images_of(str(file), None, {})
