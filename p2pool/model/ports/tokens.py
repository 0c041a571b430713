"""Where an agent's tokens lie between its runs, as its API sees it."""

from typing import Protocol

from p2pool.model.access.tokens import Tokens


class TokenStore(Protocol):
    """A file, or whatever keeps tokens; each call may block."""

    def load(self) -> Tokens:
        """What was saved last. `Misconfigured`: it is damaged, or others could have written it."""
        ...

    def save(self, tokens: Tokens) -> None:
        """Replace all of it, whole or not at all. `StoreFailed`: the disk refuses."""
        ...

    def make(self) -> str:
        """A new token's text: 256 random bits, known to nobody, and kept out of all logs."""
        ...
