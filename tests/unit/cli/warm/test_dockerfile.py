from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.warm.dockerfile import dockerfile
from mirror.cli.warm.found import Unreadable

FILE = """# syntax=docker/dockerfile:1
# escape=\\
# what this is
ARG ALPINE=3.20 QUOTED="1.27"
ARG EMPTY
FROM --platform=$BUILDPLATFORM golang:1.22 AS Build
RUN --mount=type=bind,from=busybox:1,target=/x --mount=type=cache,target=/y \\
    # in between

    make && \\
    make install
RUN <<EOF cat
FROM nowhere
EOF
COPY <<-"END" /file
\tFROM nowhere
\tEND
from alpine:${ALPINE}
COPY --from=build /a /b
COPY --chown=1:1 --from=nginx:$QUOTED /a /b
COPY --from=0 /a /b
FROM build AS second
FROM scratch
COPY --from=7 /a /b
"""


def test_what_a_build_begins_with_copies_from_and_mounts_is_found() -> None:
    found = dockerfile(FILE)
    assert list(found.images) == [
        "docker/dockerfile:1",
        "golang:1.22",
        "busybox:1",
        "alpine:3.20",
        "nginx:1.27",
        "7",
    ]
    assert found.skipped == []


def test_what_only_the_build_knows_is_told() -> None:
    found = dockerfile("ARG BASE\nFROM $BASE\nARG LATER=x\nFROM base-${TARGETARCH}\nFROM a:$LATER")
    assert list(found.images) == []
    assert found.skipped == [
        "line 2: $BASE cannot be told: BASE has no value; give the image by its name",
        "line 4: base-${TARGETARCH} cannot be told: TARGETARCH has no value; give the image by its name",
        "line 5: a:$LATER cannot be told: LATER has no value; give the image by its name",
    ]


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM a", ["a"]),
        ("\ufeffFROM a\r\nFROM b\r\n", ["a", "b"]),
        ("# escape=`\nFROM `\n a", ["a"]),
        ("FROM a:1@sha256:00 AS x", ["a:1@sha256:00"]),
        ("FROM\ta\tas\tb\nFROM b", ["a"]),
        ("FROM a AS b\nCOPY --from=B x y", ["a"]),
        ("FROM a \\", ["a"]),
        ("FROM a\nRUN <<E1 <<E2\nFROM x\nE1\nFROM y\nE2\nFROM b", ["a", "b"]),
        ("FROM a\nRUN x << EOF\nFROM b", ["a", "b"]),
        ("FROM a\nRUN 3<<'EOF' x\nFROM b\nEOF\nFROM c", ["a", "c"]),
        ("FROM a\nRUN echo $((1<<BITS))\nFROM b", ["a", "b"]),
        ("FROM a\nRUN cat <<<EOF\nFROM b", ["a", "b"]),
        ("FROM a\nRUN echo 'cat <<EOF' \"<<EOF\"\nFROM b", ["a", "b"]),
        ("ARG A=x\nARG B=${A}/y C=$B:1\nFROM $C", ["x/y:1"]),
        ("ARG B=$A\nFROM ${B:-b}", ["b"]),
    ],
)
def test_the_ways_to_write_it(text: str, images: list[str]) -> None:
    assert list(dockerfile(text).images) == images


@pytest.mark.parametrize("text", ["", "RUN x", "# FROM a", "FROM", "FROM a b", "FROM --platform=x"])
def test_what_is_no_dockerfile_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable, match="FROM"):
        dockerfile(text)


def test_a_text_within_that_does_not_end_is_told_for_all_that_follows_would_be_lost() -> None:
    with pytest.raises(Unreadable, match="begins in line 2 has no end: no line is EOF"):
        dockerfile("FROM a\nRUN <<EOF\nFROM b\n EOF")


LINES = st.sampled_from(
    ["FROM a", "FROM a AS b", "ARG X=1", "FROM $X", "RUN <<EOF", "EOF", "COPY --from=b", "\\", "# c", "RUN x \\", "${"]
)


@given(st.lists(LINES | st.text(max_size=20), max_size=15).map("\n".join))
def test_any_text_is_a_dockerfile_or_unreadable(text: str) -> None:
    with suppress(Unreadable):
        assert "scratch" not in dockerfile(text).images
