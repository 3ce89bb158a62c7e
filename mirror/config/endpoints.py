"""The fields of an endpoint: its base URL, and what else has to be known to ask there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, field_validator, model_validator
from yarl import URL

from mirror.config.section import Duration, Section, parse_origin
from mirror.errors import InvalidName
from mirror.oci.reference import Repository, is_registry
from mirror.proxy.deadline import ANSWER_WITHIN


def parse_base_url(value: object) -> URL:
    """Return the base URL of an endpoint: an origin, perhaps with a path that goes before names of repositories.

    Raises ValueError for anything that is more, or less. A slash at its end is as good as none.
    """
    try:
        url = URL(str(value))
        path = url.raw_path.removeprefix("/").removesuffix("/")
    except ValueError:
        return parse_origin(value)
    if not path or is_registry(str(value)):
        return parse_origin(value)
    origin = parse_origin(str(url.with_path("/", keep_query=True, keep_fragment=True)))
    if "v2" in path.split("/"):
        raise ValueError("leave /v2 out, which the mirror adds itself")
    try:
        prefix = Repository(path)
    except InvalidName as error:
        raise ValueError(f"its path goes before the names of repositories, so it is like one: {error}") from None
    return origin.with_path(f"/{prefix}")


BaseUrl = Annotated[URL, BeforeValidator(parse_base_url)]


class EndpointConfig(Section):
    """Where an upstream is asked; a text is its URL."""

    url: BaseUrl
    ca_file: Path | None = None
    verify: bool = True
    timeout: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_url_is_enough(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str | URL) else value

    @field_validator("timeout")
    @classmethod
    def _leaves_time_for_another(cls, timeout: timedelta | None) -> timedelta | None:
        if timeout is not None and not 0 < timeout.total_seconds() < ANSWER_WITHIN:
            raise ValueError(f"it is more than nothing and less than {ANSWER_WITHIN:g}s, all that there is to answer")
        return timeout

    @model_validator(mode="after")
    def _somebody_or_anybody_is_believed(self) -> Self:
        if self.ca_file is not None and not self.verify:
            raise ValueError("verify: without it, ca_file has nothing to say")
        return self

    @property
    def authorities(self) -> str:
        """The content of `ca_file`, empty without one; raises OSError."""
        # Between the certificates there may be text in any language.
        return "" if self.ca_file is None else self.ca_file.read_bytes().decode("ascii", "ignore")
