"""A program that is started for a measurement, and gone after it whatever happens in between."""

from __future__ import annotations

from typing import Self

from tests.e2e.process import Service


class Program(Service):
    """A service that an interruption ends as well: while it starts, runs, or is being stopped."""

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self._end()
            raise

    def __exit__(self, *exception: object) -> None:
        try:
            super().__exit__(*exception)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self._process is not None:
            self.kill()
