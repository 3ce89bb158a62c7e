"""`python -m mirror`, and the `mirror` command: runs the CLI and turns bad configuration into exit code 78."""

from __future__ import annotations

import sys

from mirror.cli import commands
from mirror.errors import AddressUnavailable, ConfigError

EX_CONFIG = 78
"""sysexits.h: something was found in an unconfigured or misconfigured state."""


def main() -> None:
    """Run the command line; never returns."""
    try:
        commands(prog_name="mirror")
    except (ConfigError, AddressUnavailable) as error:
        print(f"mirror: {error}", file=sys.stderr)
        # What may be mended by trying again is no fault of the configuration.
        sys.exit(EX_CONFIG if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    main()
