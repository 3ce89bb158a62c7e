from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.warm.found import Unreadable
from mirror.cli.warm.kubernetes import kubernetes_manifest

POD = {
    "initContainers": [{"name": "wait", "image": "busybox:1"}],
    "containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}],
    "ephemeralContainers": [{"name": "debug", "image": "debug:1"}],
    "volumes": [{"name": "model", "image": {"reference": "model:1"}}, {"name": "data", "emptyDir": {}}],
}
ALL = {"busybox:1", "app:1", "side:1", "debug:1", "model:1"}


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Pod", "spec": POD},
        {"kind": "Deployment", "spec": {"template": {"spec": POD}}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}},
        {"kind": "PodTemplate", "template": {"spec": POD}},
        {"kind": "List", "items": [{"kind": "DaemonSet", "spec": {"template": {"spec": POD}}}]},
        {"kind": "Rollout", "apiVersion": "argoproj.io/v1", "spec": {"template": {"spec": POD}}},
    ],
    ids=lambda document: str(document["kind"]),
)
@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_all_containers_are_found_in_whatever_holds_them(document: dict[str, object], write: object) -> None:
    assert set(kubernetes_manifest(write(document)).images) == ALL  # type: ignore[operator]


def test_documents_are_taken_in_order_and_images_once() -> None:
    pods = [{"kind": "Pod", "spec": {"containers": [{"image": image}]}} for image in ("b", "a", "b")]
    text = "---\n" + "\n---\n".join(map(yaml.safe_dump, pods)) + "\n---\n"
    assert list(kubernetes_manifest(text).images) == ["b", "a"]


def test_what_names_no_image_is_told() -> None:
    found = kubernetes_manifest("kind: Pod\nspec: {containers: [{name: a, image: 7}, {name: b}, null]}")
    assert (list(found.images), found.skipped) == ([], ["container a names no image"])


def test_what_refers_to_itself_is_read_once() -> None:
    pod = "kind: Pod\nspec: &s {containers: &c [{image: a}, *c], again: *s, more: [*s, *s, *s]}"
    assert list(kubernetes_manifest(pod).images) == ["a"]


@pytest.mark.parametrize(("text", "reason"), [("", "no Kubernetes"), ("a: b", "no Kubernetes"), ("{{x", "template")])
def test_what_is_no_manifest_is_said_to_be_none(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        kubernetes_manifest(text)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["containers", "image", "spec", "volumes", "reference"]), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(VALUES)
def test_any_object_can_be_looked_at(value: object) -> None:
    for image in kubernetes_manifest(json.dumps({"kind": "Thing", "spec": value})).images:
        assert isinstance(image, str)
