"""The fields of `warm`: what is in the cache before clients ask for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from mirror.config.section import Duration, Section
from mirror.errors import RequestError
from mirror.oci.image_name import ImageName
from mirror.oci.platforms import Platforms


def _image(value: str) -> str:
    try:
        ImageName.parse(value)
    except RequestError as error:
        raise ValueError(str(error)) from None
    return value


class WarmConfig(Section):
    """Images that are kept warm, and how often they are looked after; None for `platforms` is this machine's."""

    images: tuple[Annotated[str, AfterValidator(_image)], ...] = ()
    file: Path | None = None
    platforms: tuple[str, ...] | None = None
    every: Duration | None = Field(default=timedelta(hours=6), gt=timedelta())
    hot: bool = True

    @field_validator("images", "platforms", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("platforms")
    @classmethod
    def _are_platforms(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            if value is not None:
                Platforms.parse(value)
        except RequestError as error:
            raise ValueError(str(error)) from None
        return value
