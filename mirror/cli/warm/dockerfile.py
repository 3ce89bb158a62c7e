"""Dockerfiles: the images that a build begins with, copies from, mounts, and is read by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from mirror.cli.warm.found import Found, Unreadable
from mirror.cli.warm.variables import Unresolved, expanded

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.*?)\s*")
_WORD = re.compile(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+")
_HEREDOC = re.compile(r"\d*<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_.]*)\2.*")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_FLAG = re.compile(r"--([a-z]+)=(\S+)")
_FROM = re.compile(r"(\S+)(?:\s+[Aa][Ss]\s+(\S+))?")
_ARGUMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|\S*)")
_NOTHING = "scratch"


@dataclass(slots=True)
class _Build:
    """What is known so far: arguments given before the first stage, the names of stages, and the images."""

    found: Found = field(default_factory=Found)
    arguments: dict[str, str] = field(default_factory=dict)
    stages: set[str] = field(default_factory=set)
    count: int = 0

    def use(self, image: str, line: int) -> None:
        """Note an image, unless it is a stage before this one."""
        try:
            name = expanded(image, self.arguments)
        except Unresolved as unresolved:
            self.found.skip(f"line {line}: {image} cannot be told: {unresolved}; give the image by its name")
            return
        is_stage = name.lower() in self.stages or (name.isdigit() and int(name) < self.count)
        if name != _NOTHING and not is_stage:
            self.found.add(name)


def dockerfile(text: str) -> Found:
    """Return the images that a Dockerfile names; raises Unreadable."""
    build = _Build()
    for line, instruction, rest in _instructions(text):
        match instruction:
            case "SYNTAX":
                build.use(rest, line)
            case "ARG" if build.count == 0:
                _define(build, rest)
            case "FROM":
                _begin_stage(build, _FLAG.sub("", rest).strip(), line)
            case "COPY":
                _use(build, _flags(rest, "from"), line)
            case "RUN":
                _use(build, _mounted(_flags(rest, "mount")), line)
    if not build.count:
        raise Unreadable("it has no FROM, as a Dockerfile does")
    return build.found


def _define(build: _Build, rest: str) -> None:
    """Note arguments; what depends on one that nobody gives has no value either."""
    for name, value in _arguments(rest):
        with suppress(Unresolved):
            build.arguments[name] = expanded(value, build.arguments)


def _begin_stage(build: _Build, rest: str, line: int) -> None:
    stage = _FROM.fullmatch(rest)
    if stage is None:
        raise Unreadable(f"its FROM in line {line} is not understood")
    build.use(stage[1], line)
    build.count += 1
    if stage[2]:
        build.stages.add(stage[2].lower())


def _use(build: _Build, images: Iterable[str], line: int) -> None:
    for image in images:
        build.use(image, line)


def _flags(rest: str, wanted: str) -> Iterator[str]:
    return (value for flag, value in _FLAG.findall(rest) if flag == wanted)


def _mounted(mounts: Iterable[str]) -> Iterator[str]:
    """Yield what is mounted from another image, or stage."""
    for mount in mounts:
        options = (option.partition("=") for option in mount.split(","))
        yield from (value for key, _, value in options if key == "from" and value)


def _arguments(rest: str) -> Iterator[tuple[str, str]]:
    for name, value in _ARGUMENT.findall(rest):
        is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        yield name, value[1:-1] if is_quoted else value


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each instruction: its line, its name in capitals, the rest of it. A syntax directive comes as SYNTAX."""
    lines = list(enumerate(text.removeprefix("\ufeff").splitlines(), 1))
    escape, begin = "\\", 0
    for number, line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            break
        begin = number
        if directive[1].lower() == "escape":
            escape = directive[2]
        elif directive[1].lower() == "syntax":
            yield number, "SYNTAX", directive[2]
    remaining = iter(lines[begin:])
    for number, line in remaining:
        whole = _continued(line, remaining, escape)
        name, _, rest = whole.strip().partition(" ")
        if name and not name.startswith("#"):
            for heredoc in _heredocs(rest) if name.upper() in _WITH_HEREDOCS else ():
                _pass_heredoc(remaining, number, heredoc)
            yield number, name.upper(), rest.strip()


def _continued(line: str, remaining: Iterator[tuple[int, str]], escape: str) -> str:
    """Return a line with those that continue it; comments between them are none."""
    pieces = []
    current = line.rstrip()
    while escape and current.endswith(escape) and not line.lstrip().startswith("#"):
        pieces.append(current[: -len(escape)])
        following = (text.rstrip() for _, text in remaining)
        current = next((text for text in following if text.strip() and not text.lstrip().startswith("#")), "")
    return re.sub(r"\s+", " ", "".join([*pieces, current]))


def _heredocs(rest: str) -> Iterator[re.Match[str]]:
    """Yield what begins a document; within a word, as in `$((1<<BITS))` and `<<<TEXT`, it is the shell's."""
    return filter(None, map(_HEREDOC.fullmatch, _WORD.findall(rest)))


def _pass_heredoc(remaining: Iterator[tuple[int, str]], begin: int, heredoc: re.Match[str]) -> None:
    """Go past the end of a document; raises Unreadable if there is none: all that follows would be a part of it."""
    is_indented, end = bool(heredoc[1]), heredoc[3]
    if not any((line.lstrip("\t") if is_indented else line) == end for _, line in remaining):
        raise Unreadable(f"the text that begins in line {begin} has no end: no line is {end}")
