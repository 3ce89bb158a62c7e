"""Lists of tags: what a registry's page of them says, and their order (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from collections.abc import Iterable

from mirror.errors import UpstreamInvalid
from mirror.oci.documents import parse_list, parse_object
from mirror.oci.reference import is_tag


def parse_tags(data: bytes) -> list[str]:
    """Return the tags of one page of a list; raises UpstreamInvalid for what is none.

    Names outside the grammar are left out: nobody could pull by them.
    """
    tags = parse_list(parse_object(data, "a list of tags"), "tags", "a list of tags")
    if not all(isinstance(tag, str) for tag in tags):
        raise UpstreamInvalid("upstream sent a list of tags with something else in it")
    return [tag for tag in tags if is_tag(tag)]


def in_order(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags in the order in which they are listed, each once."""
    # As by `place`, and several times as quick; most registries give them nearly so, which is quicker still.
    return tuple(sorted(sorted(dict.fromkeys(tags)), key=str.lower))


def place(tag: str) -> tuple[str, str]:
    """Return what a tag is ordered by: the spec's "lexical" is without regard to case, and then nothing is equal."""
    return tag.lower(), tag
