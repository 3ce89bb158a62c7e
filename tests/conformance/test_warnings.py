"""Warnings: what is stale says so, in the one form that the spec allows."""

from __future__ import annotations

import re

import pytest

from tests.conformance.site import Site
from tests.fakes import content, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def warned(site: Site) -> list[str]:
    """The Warning headers of a tag that is served stale, by GET, HEAD and 304."""
    digest = site.add(content.image(seed="stale"), "1.0")
    await site.get("manifests/1.0")
    site.spoil("*", faults.status(500))
    replies = [await site.get("manifests/1.0", method) for method in ("GET", "HEAD")]
    replies.append(await site.get("manifests/1.0", If_None_Match=f'"{digest}"'))
    assert [reply.status for reply in replies] == [200, 200, 304]
    return [reply.headers["warning"] for reply in replies]


async def test_warnings_have_code_and_agent(site: Site) -> None:
    assert all(re.match(r'299 - "[^"]+"', warning) for warning in await warned(site))


async def test_warnings_have_no_date(site: Site) -> None:
    assert all(re.fullmatch(r'299 - "[^"]*"', warning) for warning in await warned(site))


async def test_warnings_are_short(site: Site) -> None:
    # One header an answer, and its text has no part that anybody else chooses.
    assert all(len(warning) < 200 for warning in await warned(site))
