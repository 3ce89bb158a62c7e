"""The reader counts what comes, and takes no answer for another; the upstream is a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from benchmarks.clients.connection import UnexpectedAnswer
from benchmarks.clients.pull import pull
from benchmarks.clients.reader import fetch, flow
from benchmarks.content import Content, content
from benchmarks.measuring import cpu_seconds, peak_memory
from benchmarks.scale import MIB, Scale
from benchmarks.upstream.pace import Pace
from benchmarks.upstream.process import Upstream
from benchmarks.upstream.server import TOKEN
from tests.e2e.http_client import ask
from tests.fakes.content import digest_of

TINY = Scale("tiny", MIB, MIB // 2, 4096, 2, 0, 0.1, 1)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True, slots=True)
class Fixture:
    upstream: Upstream
    content: Content


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixture]:
    """An upstream with tiny images."""
    folder = tmp_path_factory.mktemp("upstream")
    held = content(folder / "content", TINY)
    with Upstream(held.folder, folder, Pace()) as upstream:
        yield Fixture(upstream, held)


def test_every_answer_is_read_to_its_end(there: Fixture) -> None:
    paths = [there.content.huge.layers[0].path, there.content.large.layers[0].path]
    before = there.upstream.sent()

    huge, large = fetch(there.upstream.url, paths, TOKEN)

    assert (huge.size, large.size) == (MIB, MIB // 2)
    assert 0 < huge.first_byte <= huge.whole
    assert there.upstream.sent() - before == MIB + MIB // 2


def test_a_refusal_is_no_answer(there: Fixture) -> None:
    path = there.content.huge.layers[0].path
    with pytest.raises(UnexpectedAnswer, match="401"):
        fetch(there.upstream.url, [path])
    with pytest.raises(UnexpectedAnswer, match="404"):
        fetch(there.upstream.url, [path[:-1]], TOKEN)
    with pytest.raises(UnexpectedAnswer, match="401"):
        flow(there.upstream.url, [path], 2, 0.1)


def test_a_pull_takes_the_token_and_everything_the_manifest_names(there: Fixture) -> None:
    image = there.content.eight
    before = there.upstream.sent()

    assert pull(there.upstream.url, image) > 0

    manifest = ask("GET", there.upstream.url + image.by_tag, headers=BEARER).body
    named = image.config.size + sum(layer.size for layer in image.layers)
    assert there.upstream.sent() - before == named + 2 * len(manifest)


def test_content_has_the_digests_it_is_asked_for_by(there: Fixture) -> None:
    image = there.content.small
    for path, digest in [(layer.path, layer.path.rpartition("/")[2]) for layer in image.layers]:
        assert digest_of(ask("GET", there.upstream.url + path, headers=BEARER).body) == digest
    assert digest_of(ask("GET", there.upstream.url + image.by_digest, headers=BEARER).body) == image.digest
    assert len({layer.path for layer in image.layers}) == TINY.small


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("bytes=10-19", 10, 20), ("bytes=4000-", 4000, 4096), ("bytes=4000-9999", 4000, 4096)]
)
def test_the_upstream_understands_ranges(there: Fixture, asked: str, start: int, stop: int) -> None:
    url = there.upstream.url + there.content.eight.layers[0].path
    whole = ask("GET", url, headers=BEARER).body

    answer = ask("GET", url, headers={**BEARER, "Range": asked})

    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4096"
    assert answer.body == whole[start:stop]


def test_a_head_tells_what_a_get_would(there: Fixture) -> None:
    image = there.content.eight
    answer = ask("HEAD", there.upstream.url + image.by_tag, headers=BEARER)
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert int(answer.headers["Content-Length"]) > 0
    assert ask("HEAD", there.upstream.url + image.by_tag).status == 401


def test_the_kernel_tells_what_a_server_costs(there: Fixture) -> None:
    assert cpu_seconds(there.upstream.pid) > 0
    assert peak_memory(there.upstream.pid) > MIB
    assert cpu_seconds(2**22 + 1) == peak_memory(2**22 + 1) == 0


def test_a_rate_deals_out_a_body_in_steps() -> None:
    assert list(Pace(rate=100.0).pieces(10, 15)) == [(10, 2), (12, 2), (14, 1)]
    assert list(Pace().pieces(0, MIB)) == [(0, MIB)]
