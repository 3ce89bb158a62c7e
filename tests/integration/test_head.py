"""HEAD is GET without a body: the same status and headers, for every endpoint, condition and error."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from tests.fakes import content, faults
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import Head, raw_client
from tests.integration.waiting import until_metric

IMAGE = content.image(layers=1)
LIST = content.index(docker=True)
LAYER = IMAGE.layers[0]
ABSENT = "sha256:" + "0" * 64
HELD = {"If_None_Match": "*"}
UNWANTED = {"If_Match": '"sha256:0"'}

TROUBLES: list[tuple[int, Fault]] = [
    (404, faults.status(404)),
    (403, faults.status(401)),
    (403, faults.status(403)),
    (503, faults.status(429, 60)),
    (502, faults.status(500)),
    (502, faults.dropped),
]


@dataclass(frozen=True, slots=True)
class Case:
    """A request, the status that both methods get, and what upstream suffers from; `NAME` stands for a repository."""

    status: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    def prepare(self, registry: FakeRegistry, repository: str) -> Case:
        """Return this case for a repository of this name, which has all there is and nothing else."""
        registry.add_image(repository, "1.0", IMAGE)
        registry.add_image(repository, "list", LIST)
        registry.absent(f"/v2/{repository}/*")
        if self.fault is not None:
            registry.always(f"/v2/{repository}/*", self.fault)
        return replace(self, path=self.path.replace("NAME", repository))


HERE = [
    Case(200, "/v2/"),
    Case(200, "/v2"),
    Case(200, "/v2/?ns=unknown"),
    Case(200, "/healthz"),
    Case(404, "/"),
    Case(404, "/v1/search"),
    Case(404, "/v2/_catalog"),
    Case(404, "/v2/app/uploads/x"),
    Case(400, "/v2/INVALID/manifests/1.0"),
    Case(400, "/v2/a%2fb/manifests/1.0"),
    Case(400, "/v2/INVALID/blobs/sha256:1"),
    Case(400, "/v2/app/manifests/sha256:1"),
    Case(400, "/v2/app/manifests/md5:d41d8cd98f00b204e9800998ecf8427e"),
    Case(400, "/v2/app/blobs/latest"),
    Case(404, "/v2/app/manifests/.hidden"),
    Case(400, "/v2/app/tags/list?n=-1"),
    Case(400, "/v2/app/referrers/1.0"),
    Case(404, "/v2/app/tags/other"),
    Case(404, "/v2/app/tags/list?ns=quay.io"),
    Case(404, "/v2/app/manifests/1.0?ns=quay.io"),
    Case(404, "/v2/app/manifests/1.0?ns=docker.io&ns=docker.io"),
    Case(404, f"/v2/quay.io/app/blobs/{ABSENT}"),
]

CONTENT = [
    Case(200, "/v2/NAME/manifests/1.0"),
    Case(200, "/v2/NAME/manifests/1.0?ns=docker.io"),
    Case(200, f"/v2/docker.io/NAME/manifests/{IMAGE.digest}"),
    Case(200, f"/v2/NAME/blobs/{LAYER.digest}"),
    Case(200, f"/v2/NAME/blobs/{IMAGE.config.digest}?ns=docker.io", {"If_None_Match": '"x"'}),
    Case(200, "/v2/NAME/manifests/list", {"Accept": content.DOCKER_MANIFEST}),
    Case(200, f"/v2/NAME/manifests/{LIST.digest}", {"Accept": content.DOCKER_MANIFEST}),
    Case(404, "/v2/NAME/manifests/1.0", {"Accept": content.DOCKER_MANIFEST}),
    Case(304, "/v2/NAME/manifests/1.0", HELD),
    Case(304, f"/v2/NAME/manifests/{IMAGE.digest}?ns=docker.io", HELD),
    Case(304, f"/v2/NAME/blobs/{LAYER.digest}", HELD),
    Case(412, "/v2/NAME/manifests/1.0", UNWANTED),
    Case(412, f"/v2/NAME/manifests/{IMAGE.digest}", UNWANTED),
    Case(412, f"/v2/NAME/blobs/{LAYER.digest}", UNWANTED),
    Case(200, "/v2/NAME/tags/list"),
    Case(304, "/v2/NAME/tags/list?n=1&ns=docker.io", HELD),
    Case(200, f"/v2/NAME/referrers/{IMAGE.digest}"),
    Case(200, f"/v2/docker.io/NAME/referrers/{ABSENT}?artifactType=a/b"),
    Case(404, "/v2/NAME/manifests/absent"),
    Case(404, f"/v2/NAME/manifests/{ABSENT}"),
    Case(404, f"/v2/NAME/blobs/{ABSENT}", HELD),
]

# A HEAD fetches no blob, so that of what would come instead of it nothing is known: no such case is here.
IN_TROUBLE = [
    Case(status, f"/v2/NAME/{kind}", fault=fault)
    for status, fault in TROUBLES
    for kind in ("manifests/1.0", f"manifests/{IMAGE.digest}", f"blobs/{LAYER.digest}", "tags/list")
]


async def heads(mirror: RunningMirror, case: Case) -> tuple[Head, Head]:
    """The heads of the answers to GET and then to HEAD, on one connection, that goes on after them."""
    async with raw_client(mirror) as client:
        await client.ask(case.path, **case.headers)
        got = await client.answer()
        await client.ask(case.path, "HEAD", **case.headers)
        head = await client.head()
        await client.ask("/v2/")
        assert (await client.answer()).body == b"{}"
    assert got.whole
    assert got.head.headers.get("content-length") == (None if case.status == 304 else str(len(got.body))), case
    return got.head, head


def told(head: Head, *but: str) -> dict[str, str]:
    """The headers of an answer, but for these; clocks go on between two answers."""
    ticking = dict.fromkeys(head.headers.keys() & {"date", "age"}, "some time")
    return {name: value for name, value in (head.headers | ticking).items() if name not in but}


@pytest.mark.usefixtures("undaunted")
async def test_the_same_status_and_headers(mirror: RunningMirror, registry: FakeRegistry) -> None:
    everything = [*HERE, *CONTENT, *IN_TROUBLE]
    cases = [case.prepare(registry, f"warm{number}/app") for number, case in enumerate(everything)]
    for case in cases:
        await heads(mirror, case)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    for case in cases:
        got, head = await heads(mirror, case)
        assert (got.status, head.status) == (case.status, case.status), case
        assert told(got) == told(head), case


@pytest.mark.usefixtures("undaunted")
async def test_the_same_to_whoever_asks_first(mirror: RunningMirror, registry: FakeRegistry) -> None:
    for number, prepared in enumerate([*CONTENT, *IN_TROUBLE]):
        answers: dict[str, Head] = {}
        # Of one length: a name may stand in the body.
        names = {"HEAD": f"one{number}/app", "GET": f"two{number}/app"}
        for method in ("HEAD", "GET"):
            case = prepared.prepare(registry, names[method])
            async with raw_client(mirror) as client:
                await client.ask(case.path, method, **case.headers)
                answers[method] = (await client.answer(method)).head
        assert {answer.status for answer in answers.values()} == {prepared.status}, prepared
        # What the cache did is not the same: a HEAD fetches no blob, and the second finds what the first one left.
        # Nor is the entity tag of what names the repository.
        differing = ("cache-status", "etag") if "tags/list" in prepared.path else ("cache-status",)
        got, head = (told(answers[method], *differing) for method in ("GET", "HEAD"))
        assert got == {name: value.replace(names["HEAD"], names["GET"]) for name, value in head.items()}, prepared


@pytest.mark.usefixtures("forgetful")
async def test_the_same_from_a_stale_cache(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await mirror.get("/v2/owner/app/manifests/1.0")
        await registry.stop()
        for case in (Case(200, "/v2/owner/app/manifests/1.0"), Case(304, "/v2/owner/app/manifests/1.0", HELD)):
            got, head = await heads(mirror, case)
            assert (got.status, head.status) == (case.status, case.status)
            assert told(got, "warning") == told(head, "warning")
            assert {"age", "warning"} <= set(got.headers) & set(head.headers)


async def test_a_range_is_for_get_only(mirror: RunningMirror, registry: FakeRegistry) -> None:
    # RFC 9110, 14.2: to any other method the header means nothing.
    registry.add_image("owner/app", "1.0", IMAGE)
    path = f"/v2/owner/app/blobs/{LAYER.digest}"
    for wanted in ("bytes=0-9", "bytes=999999-"):
        response, _ = await mirror.get(path, "HEAD", headers={"Range": wanted})
        assert (response.status, response.headers["Content-Length"]) == (200, str(LAYER.size))
