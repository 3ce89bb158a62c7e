"""A pull-through mirror for container registries."""

from importlib.metadata import version

__version__ = version("mirror")
