"""A company's site in small: one Docker daemon, one mirror, and Docker Hub behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .docker import DockerDaemon
from .hub import Hub
from .images import Image, Index
from .mirror_process import MirrorProcess


@dataclass(frozen=True)
class Site:
    """Pulls images as users do, and looks at everything a pull leaves behind."""

    hub: Hub
    mirror: MirrorProcess
    docker: DockerDaemon

    def pull(self, name: str, image: Image | Index) -> None:
        """Pulls a tag into an empty daemon: it must be that image, and all of it came from the mirror."""
        before = len(self.mirror.journal())
        self.docker.pull(name)
        assert not self.docker.fell_back()
        self._check_image(name, image)
        served = {request.path for request in self.mirror.journal()[before:] if request.status == 200}
        assert self._paths(name, image) <= served
        self.docker.remove(name)

    def _check_image(self, name: str, image: Image | Index) -> None:
        chosen = image.image_for(self.docker.architecture())
        assert self.docker.image_id(name) == chosen.config.digest
        assert self.docker.layers(name) == chosen.diff_ids
        repository = name.removeprefix("library/")
        assert self.docker.repository_digests(name) == [f"{repository}@{image.manifest.digest}"]

    def _paths(self, name: str, image: Image | Index) -> set[str]:
        chosen = image.image_for(self.docker.architecture())
        references = ["latest", image.manifest.digest, chosen.manifest.digest]
        manifests = {f"/v2/{name}/manifests/{reference}" for reference in references}
        return manifests | {f"/v2/{name}/blobs/{blob.digest}" for blob in chosen.blobs}


StartSite = Callable[[Mapping[str, object]], Site]
