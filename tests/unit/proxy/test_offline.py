"""The upstream of a mirror that is offline refuses whatever it is asked."""

from __future__ import annotations

import inspect

import pytest

from mirror.errors import UpstreamOffline
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.interfaces.views import Viewer
from mirror.proxy.listing import ListingUpstream
from mirror.proxy.offline import OfflineUpstream

ASKED = {"repository": Repository("library/alpine"), "kind": Kind.BLOB}
QUESTIONS = sorted(
    name
    for protocol in (*ListingUpstream.__mro__, Viewer)
    for name, one in vars(protocol).items()
    if inspect.iscoroutinefunction(one)
)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_every_question_is_refused(question: str) -> None:
    ask = getattr(OfflineUpstream(), question)
    arguments = [ASKED.get(name, Digest.of(b"")) for name in inspect.signature(ask).parameters if name != "rest"]
    with pytest.raises(UpstreamOffline, match="the mirror is offline"):
        await ask(*arguments)
