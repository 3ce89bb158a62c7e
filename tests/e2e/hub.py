"""Docker Hub in small: a registry that wants tokens, and the token service that grants them."""

from pathlib import Path
from typing import Self

from .registry import RealRegistry, Tokens
from .token_service import TokenService


class Hub:
    """An upstream that can go away in two ways: refusing connections, and never answering."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.tokens = TokenService(directory / "tokens")
        self.registry = RealRegistry(directory / "registry", Tokens(self.tokens))

    @property
    def upstream(self) -> dict[str, object]:
        """The mirror's configuration of this upstream."""
        return {"endpoints": [self.registry.url], "realms": [self.tokens.url], "private_network": True}

    def refuse(self) -> None:
        """From now on nobody listens."""
        self.registry.stop()
        self.tokens.stop()

    def hang(self) -> None:
        """From now on connections open and nothing is answered."""
        self.registry.freeze()
        self.tokens.freeze()

    def come_back(self) -> None:
        """Both answer again, on the same ports."""
        for service in (self.tokens, self.registry):
            if service.is_running:
                service.thaw()
            else:
                service.start()

    def journals(self) -> tuple[object, ...]:
        """Everything that was asked so far, of both; equal as long as nothing more is asked."""
        return (*self.registry.journal(), *self.tokens.journal())

    def __enter__(self) -> Self:
        self.tokens.start()
        try:
            self.registry.start()
        except BaseException:
            self.tokens.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.registry.__exit__(*exception)
        self.tokens.__exit__(*exception)
