"""Lists of tags and referrers, page by page, with the habits that registries have in that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.fakes.answer import JSON, Answer, error
from tests.fakes.content import OCI_INDEX
from tests.fakes.request import Request

RELATIVE = '<{path}?{query}>; rel="next"'
ABSOLUTE = '<{origin}{path}?{query}>; rel="next"'
QUERY_ONLY = '<?{query}>; rel="next"'


@dataclass(frozen=True, slots=True)
class Pages:
    """How a registry cuts its lists.

    Pages are of `size` where the client asks for none (None: all in one), and never longer than `limit`, whatever it
    asks for. `link` is the header that leads on; `cursor` the parameter that says where.
    """

    size: int | None = None
    limit: int | None = None
    link: str = RELATIVE
    cursor: str = "last"

    def cut(self, names: Sequence[str], request: Request, origin: str) -> tuple[Sequence[str], str | None]:
        """The names of the page that is asked for, and its Link if it is not the last one."""
        last = request.parameter(self.cursor) or ""
        rest = [name for name in names if name > last]
        size = self._size(request)
        page = rest if size is None else rest[:size]
        if not page or len(page) == len(rest):
            return page, None
        query = urlencode({"n": size, self.cursor: page[-1]})
        return page, self.link.format(origin=origin, path=request.raw_path, query=query)

    def _size(self, request: Request) -> int | None:
        asked = request.parameter("n")
        size = self.size if asked is None else int(asked)
        return size if self.limit is None or size is None else min(size, self.limit)


def tag_page(name: str, tags: list[str], request: Request, pages: Pages, origin: str) -> Answer:
    """The tags that are asked for; as in distribution's registry, by GET only."""
    if request.method != "GET":
        return error(405, "UNSUPPORTED", "lists are got")
    page, link = pages.cut(sorted(tags), request, origin)
    answer = Answer(200, (("Content-Type", JSON),), json.dumps({"name": name, "tags": page}).encode())
    return answer.with_header("Link", link)


def referrers_page(referrers: dict[str, dict[str, object]], request: Request, pages: Pages, origin: str) -> Answer:
    """The descriptors that are asked for, given by their digests, as an index."""
    page, link = pages.cut(sorted(referrers), request, origin)
    listed = [referrers[digest] for digest in page]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    return Answer(200, (("Content-Type", OCI_INDEX),), json.dumps(document).encode()).with_header("Link", link)
