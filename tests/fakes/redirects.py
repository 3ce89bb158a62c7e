"""How a registry sends its clients elsewhere for content."""

from dataclasses import dataclass
from typing import Literal

Form = Literal["absolute", "relative", "network"]


@dataclass(frozen=True, slots=True)
class Redirect:
    """The redirect to a CDN.

    `form`: "absolute"; "relative" (a path: the registry itself then serves the object there);
    "network" (`//host/path`). `hops`: how many redirects in all, the registry's included; "endless" for a
    loop on the CDN. `location`: this Location verbatim ({path} is the path asked for); `missing`: none.
    """

    status: int = 307
    form: Form = "absolute"
    hops: int | Literal["endless"] = 1
    location: str | None = None
    missing: bool = False

    @property
    def further(self) -> str:
        """How many redirects the CDN adds, as it writes it in its URLs."""
        return "endless" if self.hops == "endless" else str(self.hops - 1)
