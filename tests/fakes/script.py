"""Which answers are to be spoiled, and how: faults by path, used up in order or lasting."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import reduce

from tests.fakes.answer import Answer
from tests.fakes.request import Request

Fault = Callable[[Answer], Answer]


@dataclass(slots=True)
class _Line:
    path: str
    method: str | None
    faults: list[Fault]
    lasting: bool

    def matches(self, request: Request) -> bool:
        return fnmatchcase(request.path, self.path) and self.method in {None, request.method}

    def __str__(self) -> str:
        return f"{self.method or '*'} {self.path} ({len(self.faults)} left)"


@dataclass(slots=True)
class Script:
    """Faults waiting for their requests. One-time faults go first, lasting ones after."""

    _lines: list[_Line] = field(default_factory=list)

    def once(self, path: str, faults: Iterable[Fault], method: str | None) -> None:
        self._lines.append(_Line(path, method, list(faults), lasting=False))

    def always(self, path: str, faults: Iterable[Fault], method: str | None) -> None:
        self._lines.append(_Line(path, method, list(faults), lasting=True))

    def heal(self, path: str | None = None) -> None:
        """Forget the faults for this path pattern (as it was given), or all."""
        self._lines = [line for line in self._lines if path not in {None, line.path}]

    def unused(self) -> list[str]:
        """The one-time faults that no request has met."""
        return [str(line) for line in self._lines if line.faults and not line.lasting]

    def apply(self, request: Request, answer: Answer) -> Answer:
        matching = [line for line in self._lines if line.faults and line.matches(request)]
        for line in matching:
            if not line.lasting:
                return line.faults.pop(0)(answer)
        return reduce(lambda spoiled, fault: fault(spoiled), matching[0].faults, answer) if matching else answer
