"""The commands. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from mirror import __version__
from mirror.cli.images.commands import ls, pin, purge, show, unpin
from mirror.cli.options import config_option, some_time
from mirror.cli.warm.command import warm
from mirror.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mirror", message="%(prog)s %(version)s")
def commands() -> None:
    """A pull-through mirror for container registries."""


@commands.command()
@config_option
def serve(config_file: Path | None) -> None:
    """Run the mirror until it is told to stop (SIGTERM or SIGINT).

    With several workers, SIGHUP has it read its configuration again.
    """
    from mirror.cli.loop import on_loop
    from mirror.config import load
    from mirror.supervisor.cores import worker_count

    config = load(config_file)
    if worker_count(config.workers) == 1:
        from mirror.app import serve as run

        on_loop(run(config))
    else:
        from mirror.supervisor.supervise import supervise

        on_loop(supervise(config_file))


@commands.command()
@config_option
@click.option("--fast", is_flag=True, help="Look at sizes only; read nothing.")
@click.option("--dry-run", is_flag=True, help="Only report; neither remove nor fetch anything.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def scrub(config_file: Path | None, *, fast: bool, dry_run: bool, as_json: bool) -> None:
    """Verify every stored byte against its digest.

    A bad file is removed, and fetched again if its upstream has it. The mirror may run meanwhile.

    Exit code: 0 all good; else the sum of 1 (bad files were found) and 4 (some of them are still there).
    """
    from mirror.cli.scrub import run
    from mirror.config import load
    from mirror.proxy.scrubbing.scrub import Thoroughness

    sys.exit(run(load(config_file), Thoroughness(fast=fast, repairs=not dry_run), as_json=as_json))


@commands.command()
@config_option
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--timeout", default="20s", show_default=True, metavar="TIME", help="How long each endpoint has.")
@click.option("--watch", "watches", is_flag=True, help="Go on trying, and show since when each endpoint is usable.")
@click.option("--every", default="10s", show_default=True, metavar="TIME", help="With --watch: how often.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; with --watch a line for each round.")
def check(
    config_file: Path | None, images: tuple[str, ...], *, timeout: str, watches: bool, every: str, as_json: bool
) -> None:
    """Try each endpoint for real, and tell what fails and why.

    DNS, connection, TLS, challenge, token, and a HEAD for a manifest. With IMAGE, only the endpoints that it comes from
    are tried, for that image. --watch draws a table anew on a terminal, and prints a line for each change elsewhere;
    Ctrl-C ends it.

    Exit code: 1 if an endpoint fails (with --watch in the last round), or IMAGE is of a registry that is no upstream.
    """
    from mirror.cli.check.command import run
    from mirror.cli.check.targets import all_endpoints, endpoints_of
    from mirror.cli.check.watch import watch
    from mirror.config import load
    from mirror.errors import RequestError, UnknownRegistry

    if not watches and click.get_current_context().get_parameter_source("every") is not ParameterSource.DEFAULT:
        raise click.UsageError("--every is for --watch")
    config = load(config_file)
    seconds, pause = some_time(timeout, "--timeout"), some_time(every, "--every", at_least=1.0)
    try:
        targets = endpoints_of(config, images) if images else all_endpoints(config)
    except UnknownRegistry as error:
        print(f"mirror: {error}", file=sys.stderr)
        sys.exit(1)
    except RequestError as error:
        raise click.UsageError(str(error)) from None
    if watches:
        sys.exit(watch(config, targets, seconds, pause, as_json=as_json))
    sys.exit(run(config, targets, seconds, as_json=as_json))


@commands.command()
@config_option
@click.argument("client", type=click.Choice(["docker", "containerd", "podman", "buildkit", "k3s"]))
@click.option("--url", metavar="URL", help="How clients reach the mirror. Default: from `listen`, on this machine.")
@click.option("--all-registries", is_flag=True, help="Docker 29 and newer: every registry, not Docker Hub only.")
@click.option("--write", "writes", is_flag=True, help="Put it where the client reads it, beside what is there.")
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), help="Write below this folder, not /; it is made."
)
def setup(
    config_file: Path | None, client: str, url: str | None, *, all_registries: bool, writes: bool, root: Path | None
) -> None:
    """Print, or write, what a client needs to use this mirror.

    podman is also Buildah, Skopeo and CRI-O. What is in a file already stays, and the file as it was is kept as a
    backup.
    """
    from mirror.cli.setup.command import Target, run
    from mirror.cli.setup.site import mirror_url
    from mirror.config import load

    if root is not None and not writes:
        raise click.UsageError("--root is for --write")
    if all_registries and client != "docker":
        raise click.UsageError("--all-registries is for docker: the others always are told all")
    config = load(config_file)
    try:
        address = mirror_url(url, config.listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    sys.exit(run(config, address, Target(client, all_registries, writes, root)))


for command in (worker, warm, ls, show, pin, unpin, purge):
    commands.add_command(command)
