"""The dialects there are, in the order of their table, and what the tests found of each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.dialects import (
    alibaba,
    amazon,
    artifactory,
    docker_hub,
    github,
    gitlab,
    google,
    harbor,
    kubernetes,
    microsoft,
    nexus,
    quay,
    red_hat,
)
from tests.dialects.dialect import Dialect
from tests.dialects.distribution import Registry2

DIALECTS: list[type[Dialect]] = [
    docker_hub.DockerHub,
    github.GitHub,
    quay.Quay,
    google.ContainerRegistry,
    google.ArtifactRegistry,
    kubernetes.Kubernetes,
    amazon.Public,
    amazon.PrivateRegistry,
    microsoft.Artifacts,
    microsoft.ContainerRegistry,
    alibaba.Alibaba,
    alibaba.PersonalEdition,
    harbor.Tencent,
    harbor.Harbor,
    nexus.Nexus,
    nexus.NexusWithTokens,
    artifactory.Artifactory,
    artifactory.ArtifactoryWithPasswords,
    gitlab.GitLab,
    gitlab.SelfManaged,
    red_hat.Access,
]

HEAD = ("registry", "challenge", "token from", "quirks exercised", "anonymous", "credentials", "result")

outcomes: dict[tuple[str, str], bool] = {}
"""How each test went, by the title of the dialect and the name of the test."""


def table(rows: Sequence[type[Dialect | Registry2]]) -> list[str]:
    """Return the lines of the table, for what has run so far."""
    return [" | ".join(HEAD), *(" | ".join(_line(row)) for row in rows)]


def _line(row: type[Dialect | Registry2]) -> tuple[str, ...]:
    ran = {test: passed for (title, test), passed in outcomes.items() if title == row.title}
    # The real registry has one test for all it can do.
    with_password = _said(ran, ("test_credentials", "test_the_distribution"))
    passed = f"{sum(ran.values())} of {len(ran)} tests" if ran else "not run"
    return row.title, row.challenge, row.tokens_from, row.quirks, _said(ran, ("test_anybody",)), with_password, passed


def _said(ran: dict[str, bool], names: tuple[str, ...]) -> str:
    found = [passed for test, passed in ran.items() if test.startswith(names)]
    return "-" if not found else "ok" if all(found) else "failed"
