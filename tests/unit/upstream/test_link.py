from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import UpstreamInvalid
from mirror.upstream.link import next_target


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ([], None),
        ([""], None),
        ([" , "], None),
        (['</v2/a/tags/list?n=2&last=b>; rel="next"'], "/v2/a/tags/list?n=2&last=b"),
        (["</x>;rel=next"], "/x"),
        (["</x>; REL=Next"], "/x"),
        (['</x> ; rel = "next"'], "/x"),
        (['</x>; rel="prev next"'], "/x"),
        (['</x>; title="a, <b>; rel=next"; rel="next"'], "/x"),
        (['</x>; title="a \\" b"; rel="next"'], "/x"),
        (['</x>; rel="n\\ext"'], "/x"),
        (["</x,y;z>; rel=next"], "/x,y;z"),
        (["<>; rel=next"], ""),
        (["</x>; crossorigin; rel=next"], "/x"),
        (['</first>; rel="first", </next>; rel="next"'], "/next"),
        (['</first>; rel="first"', '</next>; rel="next"'], "/next"),
        (['</x>; rel="next"', '</x>; rel="next"'], "/x"),
        (['</x>; rel="prev"'], None),
        (["</x>"], None),
        (["</x>; rel"], None),
        (["</x>; rel=first; rel=next"], None),
        (["</x>; rel=nextly"], None),
        (["</x>; rel=next; anchor=/elsewhere"], None),
        (["</x>; rel=next,"], "/x"),
    ],
)
def test_where_a_list_goes_on(headers: list[str], target: str | None) -> None:
    assert next_target(headers) == target


@pytest.mark.parametrize(
    "headers",
    [
        ["/v2/a/tags/list?n=2; rel=next"],
        ["</x; rel=next"],
        ["</x>; rel=next x"],
        ["</x> rel=next"],
        ['</x>; rel="next'],
        ["</x>; =next"],
        ["</x>;"],
        ["</x>; rel=next", "</y>; rel=next"],
        ["</x>; rel=next, </y>; rel=next"],
        ["<a<b>; rel=next"],
    ],
)
def test_what_cannot_be_read_is_not_the_end(headers: list[str]) -> None:
    with pytest.raises(UpstreamInvalid):
        next_target(headers)


@given(st.lists(st.text(max_size=30) | st.text('<>;,="\\ relnxt/?', max_size=60), max_size=3))
@example(["</x>" + ";" * 30_000])
@example(["</x>;" + " " * 30_000])
@example(["</x>;rel=" + '"' + "\\" * 30_001])
@example(["</x>;a=b" * 4000])
@example(["<" * 30_000])
@example([" ," * 15_000 + "x"])
def test_no_header_does_worse_than_be_invalid(headers: list[str]) -> None:
    try:
        target = next_target(headers)
    except UpstreamInvalid:
        return
    assert target is None or any(f"<{target}>" in header for header in headers)


plain = st.text("abcxyz0189-._~:/?#[]@!$&'()*+,;=%", max_size=30)


@given(plain, st.sampled_from([";rel=next", '; rel="next"', '; title="x,y"; rel="up next"']), plain)
def test_every_proper_link_is_found(target: str, parameters: str, other: str) -> None:
    assert next_target([f"<{other}>; rel=first , <{target}>{parameters}"]) == target
