"""The command that has images fetched before clients ask for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.images.commands import server_option
from mirror.cli.options import config_option, json_option

if TYPE_CHECKING:
    from mirror.cli.warm.run import Names

_KINDS = ("list", "compose", "kubernetes", "dockerfile")


@click.command()
@config_option
@server_option
@json_option
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--from", "files", multiple=True, metavar="FILE", help="A file that names images; - is standard input.")
@click.option("--as", "kind", type=click.Choice(_KINDS), help="What the files are. Default: what they look like.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="Fetch this platform, or `all`. Default: from the mirror's `warm.platforms`.",
)
@click.option("--dry-run", is_flag=True, help="Only list the images.")
def warm(  # noqa: PLR0913  # an argument is an option
    config_file: Path | None,
    server: str | None,
    *,
    as_json: bool,
    images: tuple[str, ...],
    files: tuple[str, ...],
    kind: str | None,
    platforms: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Fetch images into the cache, before clients ask for them.

    FILE is a list (a name a line), a Compose file, a Kubernetes manifest or a Dockerfile. What is there already is not
    fetched again.

    Exit code: 1 if not all of them are in the cache now.
    """
    from mirror.cli.warm.run import listed, run
    from mirror.config import load

    if not images and not files:
        raise click.UsageError("name images, or files that name them with --from")
    if kind is not None and not files:
        raise click.UsageError("--as is for --from")
    _check_platforms(platforms)
    names = _names(images, files, kind)
    for sentence in names.skipped:
        print(f"mirror: {sentence}", file=sys.stderr)
    sys.exit(
        listed(names, as_json=as_json) if dry_run else run(load(config_file), server, names, platforms, as_json=as_json)
    )


def _check_platforms(platforms: tuple[str, ...]) -> None:
    from mirror.errors import InvalidPlatform
    from mirror.oci.platforms import Platforms

    try:
        if platforms:
            Platforms.parse(platforms)
    except InvalidPlatform as error:
        raise click.BadParameter(str(error), param_hint="--platform") from None


def _names(images: tuple[str, ...], files: tuple[str, ...], kind: str | None) -> Names:
    """Return what is named, on the command line and in files; raises BadParameter."""
    from mirror.cli.report import harmless
    from mirror.cli.warm.found import Unreadable
    from mirror.cli.warm.run import Names
    from mirror.cli.warm.sources import FileKind, images_of
    from mirror.cli.warm.told import unnamed

    wanted, nameless, skipped = dict.fromkeys(images), [], []
    for image in images:
        if (problem := _problem(image)) is not None:
            raise click.BadParameter(problem, param_hint="IMAGE")
    for file in files:
        try:
            found = images_of(file, None if kind is None else FileKind(kind), os.environ)
        except Unreadable as error:
            raise click.BadParameter(f"{harmless(file)}: {error}", param_hint="--from") from None
        sentences = found.skipped or ([] if found.images else ["no image is named in it"])
        skipped += [harmless(f"{file}: {sentence}") for sentence in sentences]
        for image in found.images:
            problem = _problem(image)
            if problem is None:
                wanted[image] = None
            else:
                nameless.append(unnamed(image, f"in {file}: {problem}"))
    return Names(list(wanted), nameless, skipped)


def _problem(image: str) -> str | None:
    """Return why this names no image, None if it does."""
    from mirror.errors import RequestError
    from mirror.oci.image_name import ImageName

    try:
        ImageName.parse(image)
    except RequestError as error:
        return str(error)
    return None
