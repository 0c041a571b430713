"""The steps of a conversation with agents, which a driver carries out.

A `Flow` is a generator: it yields a step, is sent what came of it, or is thrown the error of the
tree that the step failed with, and returns its answer. It has one stream open at most; a driver
closes that with the flow. A flow that hands values to a reader one by one yields `Give`.
"""

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Ask:
    """A request, and its whole answer: status and body. `agent`: which of the list."""

    agent: int
    method: str
    path: str
    body: Any = None


@attrs.frozen
class Open:
    """Begin to read a stream of lines of a media type."""

    agent: int
    method: str
    path: str
    body: Any
    kind: str


@attrs.frozen
class Read:
    """The next lines of the stream, as many as have come; None after its end."""


@attrs.frozen
class Close:
    """End the stream, if one is open."""


@attrs.frozen
class Pause:
    """Wait."""

    seconds: float


@attrs.frozen
class Clock:
    """Seconds of a clock that nobody sets back."""


@attrs.frozen
class Sign:
    """Have typed data signed, in the form that wallets take."""

    typed_data: dict[str, Any]


@attrs.frozen
class Give:
    """Hand a value to the reader, and go on when the next one is wanted."""

    value: Any


Step: TypeAlias = Ask | Open | Read | Close | Pause | Clock | Sign | Give
Flow: TypeAlias = Generator[Step, Any, T]
