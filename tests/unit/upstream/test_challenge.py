from __future__ import annotations

import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.auth.challenge import Challenge, parse_challenges

QUAY = Challenge("bearer", "https://quay.io/v2/auth", "quay.io")


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        pytest.param(
            ['Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'],
            [Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io")],
            id="Docker Hub, ping",
        ),
        pytest.param(
            [
                'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
                'scope="repository:library/alpine:pull,push",error="invalid_token"'
            ],
            [
                Challenge(
                    "bearer",
                    "https://auth.docker.io/token",
                    "registry.docker.io",
                    "repository:library/alpine:pull,push",
                )
            ],
            id="Docker Hub, comma in the scope",
        ),
        pytest.param(
            ['Basic realm="quay.io", Bearer realm="https://quay.io/v2/auth",service="quay.io"'],
            [Challenge("basic", "quay.io"), QUAY],
            id="Quay, two in one line",
        ),
        pytest.param(
            ['Basic realm="quay.io"', 'Bearer realm="https://quay.io/v2/auth",service="quay.io"'],
            [Challenge("basic", "quay.io"), QUAY],
            id="two in two lines",
        ),
        pytest.param(
            ['BASIC realm="Sonatype Nexus Repository Manager"'],
            [Challenge("basic", "Sonatype Nexus Repository Manager")],
            id="Nexus, upper case",
        ),
        pytest.param(
            ['Bearer realm="https://gcr.io/v2/token",service=gcr.io'],
            [Challenge("bearer", "https://gcr.io/v2/token", "gcr.io")],
            id="gcr, unquoted",
        ),
        pytest.param(
            ["Bearer realm=https://gcr.io/v2/token,service=gcr.io"],
            [Challenge("bearer", "https://gcr.io/v2/token", "gcr.io")],
            id="nothing quoted",
        ),
        pytest.param(
            [
                'Bearer realm="https://dockerauth.cn-hangzhou.aliyuncs.com/auth",'
                'service="registry.aliyuncs.com:cn-hangzhou:26842",scope="repository:a/b:pull"'
            ],
            [
                Challenge(
                    "bearer",
                    "https://dockerauth.cn-hangzhou.aliyuncs.com/auth",
                    "registry.aliyuncs.com:cn-hangzhou:26842",
                    "repository:a/b:pull",
                )
            ],
            id="Aliyun, colons",
        ),
        pytest.param(
            ['Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws"'],
            [Challenge("bearer", "https://public.ecr.aws/token/", "public.ecr.aws", "aws")],
            id="ECR public, another kind of scope",
        ),
        pytest.param(
            [
                'Bearer realm="https://r.example/token", service="r.example", '
                'scope="repository:a:pull repository:b:pull"'
            ],
            [Challenge("bearer", "https://r.example/token", "r.example", "repository:a:pull repository:b:pull")],
            id="two scopes and spaces",
        ),
        pytest.param(
            ['Bearer realm = "https://r.example/token" , service\t=\t"x"'],
            [Challenge("bearer", "https://r.example/token", "x")],
            id="spaces around everything",
        ),
        pytest.param(
            ['bearer REALM="https://r.example/token",Service="x"'],
            [Challenge("bearer", "https://r.example/token", "x")],
            id="names in any case",
        ),
        pytest.param(
            ['Bearer realm="https://r.example/t?a=b&c=d",service="x=y"'],
            [Challenge("bearer", "https://r.example/t?a=b&c=d", "x=y")],
            id="equals signs in values",
        ),
        pytest.param(
            [r'Bearer realm="https://r.example/\"t\\",service="x"'],
            [Challenge("bearer", 'https://r.example/"t\\', "x")],
            id="escapes",
        ),
        pytest.param(
            ['Bearer realm="https://r.example/a, Basic realm=b"'],
            [Challenge("bearer", "https://r.example/a, Basic realm=b")],
            id="what looks like a challenge inside a value",
        ),
        pytest.param(
            ['Bearer realm="https://first.example",realm="https://second.example"'],
            [Challenge("bearer", "https://first.example")],
            id="the first of two counts",
        ),
        pytest.param(["Negotiate", "NTLM"], [Challenge("negotiate"), Challenge("ntlm")], id="bare schemes"),
        pytest.param(
            ['Basic, Bearer realm="https://r.example"'],
            [Challenge("basic"), Challenge("bearer", "https://r.example")],
            id="a bare scheme first",
        ),
        pytest.param(['Bearer realm=""'], [Challenge("bearer")], id="an empty value"),
        pytest.param(['Bearer realm="https://r.example'], [Challenge("bearer")], id="unterminated"),
        pytest.param(
            ['Basic realm="open, Bearer realm="https://r.example",service="x"'],
            None,
            id="unterminated, then another",
        ),
        pytest.param(["Bearer"], [Challenge("bearer")], id="a scheme and nothing more"),
        pytest.param([""], [], id="empty"),
        pytest.param([], [], id="no header"),
        pytest.param([",,, ,"], [], id="commas"),
        pytest.param(['realm="https://r.example"'], [], id="a parameter of nothing"),
        pytest.param(['="x"', "@@@", '"Bearer"'], [], id="no words at all"),
    ],
)
def test_headers_as_they_are_sent(headers: list[str], challenges: list[Challenge] | None) -> None:
    parsed = parse_challenges(headers)
    if challenges is not None:
        assert parsed == challenges


NASTY = st.text('Bearer realm="\\, =:/\t\udcff\u00e9', max_size=200)


@given(st.lists(st.text(max_size=60) | NASTY, max_size=4))
def test_no_text_does_worse_than_be_passed_over(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()


values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(values, values, values, st.sampled_from(["Bearer", "bearer", "BEARER"]), st.sampled_from([",", ", ", " , "]))
def test_what_is_quoted_properly_comes_back(realm: str, service: str, scope: str, scheme: str, comma: str) -> None:
    parameters = (("realm", realm), ("service", service), ("scope", scope))
    quoted = [name + '="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, value in parameters]
    header = f"{scheme} {comma.join(quoted)}"
    assert parse_challenges([header]) == [Challenge("bearer", realm, service, scope)]
    assert parse_challenges([f'Basic realm="x", {header}'])[1:] == [Challenge("bearer", realm, service, scope)]


def calls_to_parse(*headers: str) -> int:
    """Count the calls of functions it takes to parse headers: the same on every machine."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        parse_challenges(headers)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        ",",
        '"',
        "=",
        "\\",
        'a="',
        'a="\\',
        "a=",
        "a =",
        "a ",
        'a="b"',
        "a,",
        '"a',
        "@",
        "\u00e9",
        "a@,",
        "\t=",
    ],
)
def test_the_work_grows_no_faster_than_the_header(unit: str) -> None:
    short, long = (calls_to_parse(f"Bearer {unit * (size // len(unit))}") for size in (1000, 4000))
    assert long <= 4.5 * short + 100
    assert long <= 10 * 4000


def test_what_is_longer_than_any_real_header_is_not_read() -> None:
    assert calls_to_parse("a " * 1_000_000) <= 10 * calls_to_parse("a " * 4000)


@pytest.mark.parametrize("unit", ["a ", 'Bearer realm="https://r.example", '])
def test_many_headers_are_no_more_work_than_one(unit: str) -> None:
    assert calls_to_parse(*[unit * 500] * 1000) <= 10 * calls_to_parse(unit * 1000) + 5000
