"""Compose files: the images of their services, with the variables in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.cli.warm.documents import documents_in
from mirror.cli.warm.found import Found, Unreadable
from mirror.cli.warm.variables import Unresolved, expanded


def compose_file(text: str, environment: Mapping[str, str]) -> Found:
    """Return the images that a Compose file names; raises Unreadable. Services that are built are left out."""
    found = Found()
    for document in documents_in(text) or [None]:
        services = document.get("services") if isinstance(document, dict) else None
        if not isinstance(services, dict):
            raise Unreadable("it has no services, as a Compose file does")
        for name, service in services.items():
            _service(str(name), service if isinstance(service, dict) else {}, environment, found)
        if "include" in document:
            found.skip("what it includes is left out: give those files as well")
    return found


def _service(name: str, service: Mapping[Any, Any], environment: Mapping[str, str], found: Found) -> None:
    image, build = service.get("image"), service.get("build")
    if build is not None:
        found.skip(f"service {name} is built, not pulled: give its Dockerfile, --from {_dockerfile(build)}")
    elif not isinstance(image, str):
        found.skip(f"service {name} names no image")
    else:
        try:
            found.add(expanded(image, environment))
        except Unresolved as unresolved:
            found.skip(
                f"service {name}: {image} cannot be told: {unresolved}; "
                "the environment, or .env beside the file, can give it one"
            )


def _dockerfile(build: Any) -> str:
    """Return where the Dockerfile of a service is, as far as that is told."""
    context = build.get("context", ".") if isinstance(build, dict) else build
    file = build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile"
    return f"{str(context).rstrip('/')}/{file}"
