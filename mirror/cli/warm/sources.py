"""Files that name images: read within bounds, taken for what their content and their names say they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from mirror.cli.warm.compose import compose_file
from mirror.cli.warm.dockerfile import dockerfile
from mirror.cli.warm.env_file import env_file
from mirror.cli.warm.found import Found, Unreadable
from mirror.cli.warm.kubernetes import kubernetes_manifest
from mirror.oci.image_list import image_list

STANDARD_INPUT = "-"
LARGEST = 16 * 1024 * 1024
"""Bytes of a file: what a cluster tells of thousands of pods."""

_OBJECT = re.compile(r"(?:^|[{,])\s*[\"']?(?:apiVersion|kind)[\"']?\s*:", re.MULTILINE)
_SERVICES = re.compile(r"(?:^|[{,])\s*[\"']?services[\"']?\s*:", re.MULTILINE)
_FROM = re.compile(r"^\s*FROM\s+\S", re.MULTILINE | re.IGNORECASE)
_DOCKERFILE_NAME = re.compile(r"(?:dockerfile|containerfile)(?:\..*)?|.*\.(?:dockerfile|containerfile)", re.IGNORECASE)
_COMPOSE_NAME = re.compile(r"(?:docker-|podman-)?compose(?:[.-].*)?\.ya?ml", re.IGNORECASE)
_DOCUMENT_NAME = re.compile(r".*\.(?:ya?ml|json)", re.IGNORECASE)


class FileKind(StrEnum):
    """What a file that names images can be."""

    LIST = "list"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"
    DOCKERFILE = "dockerfile"


def images_of(file: str, kind: FileKind | None, environment: Mapping[str, str]) -> Found:
    """Return what a file names, `-` for standard input; it is of this kind, or of the one that it looks like.

    Raises Unreadable.
    """
    text = _read(file)
    match kind or kind_of(Path(file).name, text):
        case FileKind.COMPOSE:
            return compose_file(text, _values_beside(Path(file), environment))
        case FileKind.KUBERNETES:
            return kubernetes_manifest(text)
        case FileKind.DOCKERFILE:
            return dockerfile(text)
        case FileKind.LIST:
            return Found(dict.fromkeys(image_list(text)))


def kind_of(name: str, text: str) -> FileKind:
    """Return what a file of this name and this content looks like; raises Unreadable."""
    if _DOCKERFILE_NAME.fullmatch(name):
        return FileKind.DOCKERFILE
    if _COMPOSE_NAME.fullmatch(name):
        return FileKind.COMPOSE
    if _OBJECT.search(text):
        return FileKind.KUBERNETES
    if _SERVICES.search(text):
        return FileKind.COMPOSE
    if _FROM.search(text):
        return FileKind.DOCKERFILE
    if _DOCUMENT_NAME.fullmatch(name):
        # Helm's values, for one: read as a list, each of their lines would be a mistake.
        raise Unreadable("it is neither a Compose file nor a Kubernetes manifest; if it is a list: --as list")
    return FileKind.LIST


def _values_beside(file: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the values of variables; one that is missing, as `.env` cannot be read, is told where it is used."""
    try:
        return env_file(_read(str(file.with_name(".env"))), environment)
    except Unreadable:
        return environment


def _read(file: str) -> str:
    try:
        if file == STANDARD_INPUT:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(f"it cannot be read: {(error.strerror or 'no reason is known').lower()}") from None
    except UnicodeDecodeError:
        raise Unreadable("it is not text") from None
    if len(data) > LARGEST:
        raise Unreadable(f"it is larger than {LARGEST // 1024 // 1024} MiB")
    return text
