"""Tag lists, page by page."""

import json
from urllib.parse import urlencode

from tests.fakes.answer import JSON, Answer
from tests.fakes.request import Request


def tag_page(name: str, tags: list[str], request: Request, page_size: int | None) -> Answer:
    """The tags after `last`, at most `n` (or `page_size`) of them, with a Link to the rest."""
    rest = [tag for tag in sorted(tags) if tag > (request.parameter("last") or "")]
    asked = request.parameter("n")
    size = int(asked) if asked is not None else page_size
    page = rest if size is None else rest[:size]
    headers = [("Content-Type", JSON)]
    if page and len(page) < len(rest):
        query = urlencode({"n": size, "last": page[-1]})
        headers.append(("Link", f'</v2/{name}/tags/list?{query}>; rel="next"'))
    return Answer(200, tuple(headers), json.dumps({"name": name, "tags": page}).encode())
