"""The grammar of names, built up instead of matched: what these yield is valid by the words of the spec."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from mirror.oci.digest import Digest

LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"

alphanumerics = st.text(LOWER, min_size=1, max_size=8)
separators = st.sampled_from([".", "_", "__", "-", "--", "-----"])


@st.composite
def components(draw: st.DrawFn) -> str:
    """One path component: runs of letters and digits with one separator between two of them."""
    text = draw(alphanumerics)
    for _ in range(draw(st.integers(0, 3))):
        text += draw(separators) + draw(alphanumerics)
    return text


repositories = st.lists(components(), min_size=1, max_size=4).map("/".join)
tags = st.builds(
    str.__add__,
    st.sampled_from(string.ascii_letters + string.digits + "_"),
    st.text(string.ascii_letters + string.digits + "._-", max_size=127),
)
digests = st.one_of(
    st.text(HEX, min_size=64, max_size=64).map(lambda encoded: Digest("sha256", encoded)),
    st.text(HEX, min_size=128, max_size=128).map(lambda encoded: Digest("sha512", encoded)),
)
