"""The port to whatever runs a prover of the owner's for a challenge: a container engine.

Intuition: a prover is a program that somebody else wrote, which gets devices and nothing else: no
network, no files of the machine, no keys. What it is asked and what it answers are lines.

Invariants: a prover lives for as long as its block at most, whatever ends that; one answer belongs
to one line, and has a bound and a deadline; what outlives a killed agent is removed by the next.
Source: docs/design/validation.md, "The node's side".
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

PROCESSOR = "CPU-"
"""What the UUIDs of devices begin with that are processors, as the reference prover has them: no
engine gives them out, and their memory is the machine's."""


class ProverLines(Protocol):
    """A prover that runs."""

    async def ask(self, line: bytes, *, answer_max_bytes: int) -> bytes:
        """The line that answers this one, both without their ends. RuntimeUnavailable: it ended, or
        it answers with more than so many bytes. Wait no longer than you like: cancel it."""
        ...


class Provers(Protocol):
    """Runs provers on one machine."""

    async def is_here(self, image: str) -> bool:
        """Whether an image can run at once. RuntimeUnavailable: the engine does not say."""
        ...

    async def fetch(self, image: str) -> None:
        """Bring an image, which takes as long as it takes. Errors as of `ContainerRuntime.pull`."""
        ...

    def running(
        self, image: str, gpus: tuple[str, ...], memory_bytes: int
    ) -> AbstractAsyncContextManager[ProverLines]:
        """A prover with these GPUs, and so much of the machine's own memory, for as long as the
        block. RuntimeUnavailable: the engine is away, the image is gone, or somebody else holds a
        GPU. NoGpuSupport: the engine cannot give GPUs."""
        ...

    async def sweep(self) -> None:
        """Remove provers that nobody waits for any longer."""
        ...
