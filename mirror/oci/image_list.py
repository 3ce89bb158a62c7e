"""Lists of images: a name a line, and behind a `#` what people have to say."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"(?:^|\s)#.*")
# One that is glued to a name is a mistake, which who reads the name will tell of.


def image_list(text: str) -> tuple[str, ...]:
    """Return the names, in order; what they look like does not matter here."""
    names = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return tuple(filter(None, names))
