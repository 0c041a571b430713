"""Errors that peers name by a code on the wire, back to the class of the tree that is meant."""

from collections.abc import Iterator

from p2pool.model import limits
from p2pool.model.errors import P2poolError, Unavailable


def _classes(root: type[P2poolError]) -> Iterator[type[P2poolError]]:
    for cls in root.__subclasses__():
        yield cls
        yield from _classes(cls)


def error_of(code: str, message: str, hint: str) -> P2poolError:
    """The error that a peer names by its code; one that we do not know is `Unavailable`."""
    known = {cls.code: cls for cls in _classes(P2poolError)}
    cls = known.get(code, Unavailable)
    return cls(message[: limits.TEXT_MAX_BYTES], hint=hint[: limits.TEXT_MAX_BYTES])
