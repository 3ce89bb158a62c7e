"""Kubernetes manifests: the images of all containers in them, whatever kind of object these belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mirror.cli.warm.documents import documents_in
from mirror.cli.warm.found import Found, Unreadable

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def kubernetes_manifest(text: str) -> Found:
    """Return the images that Kubernetes objects name; raises Unreadable.

    A pod's specification is told by its lists of containers. It may be anywhere: in a Pod, a template of one, a List,
    or an object of a kind that somebody has added.
    """
    documents = [document for document in documents_in(text) if document is not None]
    if not any(isinstance(document, dict) and "kind" in document for document in documents):
        raise Unreadable("it holds no Kubernetes objects")
    found = Found()
    for mapping in _mappings(documents):
        for field in _CONTAINERS:
            for container in _listed(mapping, field):
                _note(container, "image", f"container {container.get('name', '')}", found)
        for volume in _listed(mapping, "volumes"):
            if isinstance(source := volume.get("image"), dict):
                _note(source, "reference", f"volume {volume.get('name', '')}", found)
    return found


def _mappings(documents: list[Any]) -> Iterator[Mapping[Any, Any]]:
    """Yield all mappings, in order and each once, however often it is referred to."""
    waiting, seen = [*reversed(documents)], set[int]()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict | list) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield value
        waiting += reversed(value.values() if isinstance(value, dict) else value)


def _listed(mapping: Mapping[Any, Any], field: str) -> list[Mapping[Any, Any]]:
    entries = mapping.get(field)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _note(holder: Mapping[Any, Any], field: str, what: str, found: Found) -> None:
    image = holder.get(field)
    if isinstance(image, str) and image:
        found.add(image)
    elif field in holder:
        found.skip(f"{what} names no image")
