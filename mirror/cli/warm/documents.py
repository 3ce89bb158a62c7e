"""YAML, and JSON, which is YAML as well: what a file holds, and no more than a file of its size can hold."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import yaml

from mirror.cli.warm.found import Unreadable

_DEEPEST = 100
_MOST_REFERENCES = 1000
_MOST_MERGED = 1000
# Levels, aliases in a file, and keys that are merged into one mapping: a small file of these could take for ever.


def documents_in(text: str) -> list[Any]:
    """Return the documents of a file; raises Unreadable."""
    if text.lstrip().startswith("{"):
        # A hundred times faster, and what a cluster tells of all its pods is long.
        with suppress(ValueError, RecursionError):
            return [json.loads(text)]
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        if "{{" in text:
            raise Unreadable(f"it is a template{where}: render it first, for example with `helm template`") from None
        raise Unreadable(f"it is not YAML{where}") from None
    except ValueError:
        raise Unreadable("it is YAML with a value that cannot be read") from None


class _Loader(yaml.SafeLoader):
    """Makes plain values only, and no more of them than anybody writes."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._references = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read a node with all below it."""
        self._references += self.check_event(yaml.AliasEvent)
        if self._references > _MOST_REFERENCES:
            raise Unreadable("it refers to other parts of itself more often than anybody writes")
        if self._depth == _DEEPEST:
            raise Unreadable("it is nested deeper than anybody writes")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what is to be merged."""
        before = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > before + _MOST_MERGED:
            raise Unreadable("it merges more than anybody writes")


def _plain(loader: _Loader, node: yaml.Node) -> Any:
    """Return what a node holds that says more of itself: `!override` of Compose is what to do with it."""
    if node.tag == "!reset":
        # Compose's word for: not there.
        return None
    match node:
        case yaml.MappingNode():
            return loader.construct_mapping(node, deep=True)
        case yaml.SequenceNode():
            return loader.construct_sequence(node, deep=True)
        case _:
            return node.value


_Loader.add_multi_constructor("!", lambda loader, _, node: _plain(loader, node))
_Loader.add_constructor("tag:yaml.org,2002:value", _plain)
# That is a bare `=`, as definitions of resources have it.
