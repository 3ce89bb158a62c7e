from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from mirror.oci.digest import Digest
from mirror.server.conditions import Verdict, etag_of, judge

DIGEST = Digest.of(b"content")
ETAG = etag_of(DIGEST)
OTHER = etag_of(Digest.of(b"other"))


def verdict(**lines: list[str]) -> Verdict:
    """What these header lines mean for the content; underscores in names stand for hyphens."""
    headers = CIMultiDict([(name.replace("_", "-"), value) for name, values in lines.items() for value in values])
    return judge(CIMultiDictProxy(headers), ETAG)


def test_the_entity_tag_is_the_digest_in_quotes() -> None:
    assert f'"{DIGEST}"' == ETAG


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        ([ETAG], True),
        ([f"W/{ETAG}"], True),
        ([str(DIGEST)], True),
        (["*"], True),
        ([" * "], True),
        ([f"{OTHER}, {ETAG}"], True),
        ([OTHER, ETAG], True),
        ([f' ,"",{OTHER}\t, ,{ETAG} ,'], True),
        ([f'"a,b", "c d", {ETAG}'], False),  # no entity tag has a blank in it
        ([f'"a,b", W/"x", {ETAG}'], True),
        ([f'"\xff\udcff", {ETAG}'], True),
        ([OTHER], False),
        ([f"W/{OTHER}"], False),
        (['""'], False),
        ([""], False),
        ([ETAG.upper()], False),
        ([f'"{DIGEST.encoded}"'], False),
        ([f'"{ETAG}"'], False),
        # Malformed: as if it were not there.
        ([f"*, {ETAG}"], False),
        ([f"w/{ETAG}"], False),
        ([f"W/ {ETAG}"], False),
        ([f"{ETAG} {OTHER}"], False),
        ([f'{ETAG}, "open'], False),
        ([f"{ETAG}, bare"], False),
        ([f"{ETAG};q=1"], False),
    ],
)
def test_what_a_client_says_it_holds(lines: list[str], held: bool) -> None:
    assert verdict(If_None_Match=lines) is (Verdict.HELD if held else Verdict.SEND)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([ETAG], True),
        (["*"], True),
        ([OTHER, ETAG], True),
        ([str(DIGEST)], True),
        ([OTHER], False),
        ([f"W/{ETAG}"], False),  # a weak one is never the same, strongly
        ([""], False),
        (["nonsense"], True),
        ([f"*, {OTHER}"], True),
    ],
)
def test_what_a_client_says_it_wants(lines: list[str], wanted: bool) -> None:
    assert verdict(If_Match=lines) is (Verdict.SEND if wanted else Verdict.UNWANTED)


def test_what_it_wants_counts_before_what_it_holds() -> None:
    assert verdict(If_Match=[OTHER], If_None_Match=[ETAG]) is Verdict.UNWANTED
    assert verdict(If_Match=[ETAG], If_None_Match=[ETAG]) is Verdict.HELD


@pytest.mark.parametrize("name", ["If_Modified_Since", "If_Unmodified_Since", "If_Range"])
def test_dates_and_ranges_decide_nothing(name: str) -> None:
    for value in ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT", ETAG, OTHER, ""):
        assert verdict(**{name: [value]}) is Verdict.SEND


@given(st.lists(st.text(max_size=20) | st.text('*W/", \t:af0', max_size=40), max_size=3))
def test_no_header_is_held_without_naming_the_tag_or_all(lines: list[str]) -> None:
    found = verdict(If_None_Match=lines, If_Match=lines)
    names_it = any(str(DIGEST) in line for line in lines)
    assert names_it or "*" in "".join(lines) or found is not Verdict.HELD


@given(st.lists(st.text(st.characters(exclude_characters='"\x7f', min_codepoint=0x21), max_size=8), max_size=5))
def test_any_list_of_proper_tags_is_understood(others: list[str]) -> None:
    tags = [f'"{one}"' for one in others]
    assert verdict(If_None_Match=[", ".join([*tags, ETAG])]) is Verdict.HELD
    assert verdict(If_None_Match=[*tags, ETAG]) is Verdict.HELD
    assert verdict(If_Match=[*tags, ETAG]) is Verdict.SEND
