"""k3s: `mirrors` in registries.yaml. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TypeVar

import yaml

from mirror.cli.setup.needs import CannotSetUp, ClientFile, Needs
from mirror.cli.setup.site import Site

_FILE = PurePosixPath("/etc/rancher/k3s/registries.yaml")
_STRING = "tag:yaml.org,2002:str"
_TAGS: dict[type[yaml.CollectionNode], str] = {
    yaml.MappingNode: "tag:yaml.org,2002:map",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
}

Collection = TypeVar("Collection", bound=yaml.CollectionNode)


def k3s(site: Site) -> Needs:
    """Return what k3s needs; its containerd then names the registry (`?ns=`)."""
    url = str(site.url)
    mirrors = {registry: {"endpoint": [url]} for registry in site.registries}
    content = yaml.safe_dump({"mirrors": mirrors}, sort_keys=False)
    file = ClientFile(_FILE, content, lambda text: _merged(text, url, site.registries))
    notes = (
        "on every node; restart k3s afterwards: systemctl restart k3s (on agents k3s-agent)",
        "comments of a file that is there already stay behind in its backup",
        "RKE2 takes the same as /etc/rancher/rke2/registries.yaml",
    )
    return Needs(("k3s",), (file,), notes)


def _merged(text: str, url: str, registries: Sequence[str]) -> str:
    """Return the document with the mirror as the first endpoint of each registry; raises CannotSetUp.

    It is changed as it was composed, before words are given a meaning, so that `0123` and `yes` stay what they are.
    Only comments are lost.
    """
    root = _composed(text)
    mirrors = _child(root, "mirrors", yaml.MappingNode)
    lists = [_child(_child(mirrors, name, yaml.MappingNode), "endpoint", yaml.SequenceNode) for name in registries]
    changed = [_put_first(endpoints, url) for endpoints in lists]
    return yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=1000) if any(changed) else text


def _composed(text: str) -> yaml.MappingNode:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise CannotSetUp(f"is not YAML{where}: mend it first") from None
    if root is None or _is_nothing(root):
        return yaml.MappingNode(_TAGS[yaml.MappingNode], [])
    if not isinstance(root, yaml.MappingNode):
        raise CannotSetUp("is YAML, but not a mapping of settings: mend it first")
    return root


def _child(parent: yaml.MappingNode, key: str, kind: type[Collection]) -> Collection:
    """Return what the key stands for, made where it is missing or empty; raises CannotSetUp if it is something else."""
    places = [place for place, (name, _) in enumerate(parent.value) if name.value == key]
    if len(places) > 1:
        raise CannotSetUp(f"has {key} twice: mend it first")
    if places and not _is_nothing(child := parent.value[places[0]][1]):
        if not isinstance(child, kind):
            raise CannotSetUp(f"has something else as {key} than k3s takes: mend it first")
        return child
    made = kind(_TAGS[kind], [], flow_style=False)
    entry = (yaml.ScalarNode(_STRING, key), made)
    if places:
        parent.value[places[0]] = entry
    else:
        parent.value.append(entry)
    return made


def _put_first(endpoints: yaml.SequenceNode, url: str) -> bool:
    """Put the mirror before the other endpoints; return False if it is among them."""
    if url in {str(node.value).rstrip("/") for node in endpoints.value}:
        return False
    endpoints.value.insert(0, yaml.ScalarNode(_STRING, url))
    return True


def _is_nothing(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")
