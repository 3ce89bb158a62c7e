"""The commands that see and steer what is cached."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mirror.cli.options import config_option, json_option

_LONGEST = 512
# A registry, a repository and a tag are shorter together.

server_option = click.option(
    "--server", metavar="URL", help="The admin listener of the mirror. Default: from `admin.listen`, on this machine."
)


@click.command()
@config_option
@server_option
@json_option
@click.argument("text", metavar="[TEXT]", default="")
def ls(config_file: Path | None, server: str | None, *, as_json: bool, text: str) -> None:
    """List the images that are cached, or those with TEXT in their names."""
    from mirror.cli.images.tables import listing

    if len(text) > _LONGEST:
        raise click.BadParameter(f"no name has more than {_LONGEST} characters", param_hint="TEXT")
    _run(config_file, server, lambda mirror: mirror.images(text), listing, as_json=as_json)


@click.command()
@config_option
@server_option
@json_option
@click.argument("image")
def show(config_file: Path | None, server: str | None, *, as_json: bool, image: str) -> None:
    """Tell what a pull of IMAGE would be now, and why.

    Until when that is so, and what of the image is cached, as well.

    Exit code: 1 if it is not cached.
    """
    from mirror.cli.images.shown import shown

    _checked(image)
    _run(config_file, server, lambda mirror: mirror.image(image), shown, as_json=as_json)


@click.command()
@config_option
@server_option
@json_option
@click.argument("image")
def pin(config_file: Path | None, server: str | None, *, as_json: bool, image: str) -> None:
    """Never evict IMAGE, nor what it holds.

    Nor what it will hold when its tag moves. It need not be cached yet.
    """
    from mirror.cli.images.tables import pinned

    _checked(image)
    _run(config_file, server, lambda mirror: mirror.pin(image), pinned, as_json=as_json)


@click.command()
@config_option
@server_option
@json_option
@click.argument("image")
def unpin(config_file: Path | None, server: str | None, *, as_json: bool, image: str) -> None:
    """Let IMAGE be evicted again."""
    from mirror.cli.images.tables import unpinned

    _checked(image)
    _run(config_file, server, lambda mirror: mirror.unpin(image), unpinned, as_json=as_json)


@click.command()
@config_option
@server_option
@json_option
@click.option("--all-tags", is_flag=True, help="IMAGE is a repository: purge all of it.")
@click.argument("image")
def purge(config_file: Path | None, server: str | None, *, as_json: bool, all_tags: bool, image: str) -> None:
    """Remove IMAGE from the cache now.

    All that no other image holds goes with it. Without tag and digest it is the tag `latest`, as everywhere. A digest
    goes with the tags that point to it. What is pinned is not purged.
    """
    from mirror.cli.images.tables import purged

    if all_tags:
        _checked_repository(image)
        _run(config_file, server, lambda mirror: mirror.purge_repository(image), purged, as_json=as_json)
    else:
        _checked(image)
        _run(config_file, server, lambda mirror: mirror.purge(image), purged, as_json=as_json)


def _run(
    config_file: Path | None,
    server: str | None,
    ask: Callable[[Any], Any],
    rendered: Callable[[Any], list[str]],
    *,
    as_json: bool,
) -> None:
    from mirror.cli.images.asking import run
    from mirror.config import load

    sys.exit(run(load(config_file), server, ask, None if as_json else rendered))


def _checked(image: str) -> None:
    """Raise UsageError for what names no image."""
    from mirror.errors import RequestError
    from mirror.oci.image_name import ImageName

    try:
        ImageName.parse(image)
    except RequestError as error:
        raise click.BadParameter(str(error), param_hint="IMAGE") from None


def _checked_repository(image: str) -> None:
    """Raise UsageError for what names no repository, or more than that."""
    from mirror.errors import RequestError
    from mirror.oci.paths import Name

    try:
        Name.parse(image)
    except RequestError:
        raise click.BadParameter(
            "with --all-tags it is a repository, without tag and digest", param_hint="IMAGE"
        ) from None
