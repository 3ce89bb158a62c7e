"""What an operator is told once a mirror serves."""

from __future__ import annotations

from mirror import __version__
from mirror.config import Config
from mirror.telemetry.logs import Logs


def announce(logs: Logs, config: Config, public: str, admin: str, **more: object) -> None:
    """Tell where the mirror listens, and whether it asks anybody."""
    logs.lifecycle("listening", version=__version__, public=public, admin=admin, **more)
    if config.offline:
        logs.lifecycle("offline", meaning="nobody is asked; what is cached is served, whatever its age")
