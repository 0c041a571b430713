"""Runs of a prover: which image, with which GPUs, and its answers to the requests of a challenge.

Intuition: the owner says which images may run, the validator which ones it believes; the first one
of the owner's that both name runs. One that is not here is fetched meanwhile: whoever asked is told
to come back. What a prover says is as good as a stranger's word, so its lines are read as such.

Invariants: one request at a time, each answered once, under the number that it was asked by; long
answers are read in a thread, so nobody else waits for them. Errors say what the prover did, for its
owner. Source: `prover.protocol` at the repository's root; docs/design/validation.md.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import P2poolError, RuntimeUnavailable
from p2pool.model.machine.hardware import Gpu
from p2pool.model.ports.prover import PROCESSOR, ProverLines, Provers
from p2pool.proofs.validation.answers import ProverRequest, Share

log = get_logger(__name__)


NONE_NAMED = "[challenge] images names no prover"
NOT_HIDDEN = "tasks are plain processes here, and a prover has to be kept from the machine"
"""Why no image may run."""


def digest_in(image: str) -> str:
    """The digest in an entry of the owner's list."""
    return image.rpartition("@")[2]


class ProverSession:
    """A prover that runs."""

    def __init__(self, lines: ProverLines) -> None:
        """Nothing was asked yet."""
        self._lines, self._number = lines, 0

    async def devices(self) -> tuple[str, ...]:
        """The UUIDs of the devices that it sees, in its own order. RuntimeUnavailable: it does not
        say."""
        listed = await self._ask({"op": "devices"}, "devices")
        if len(listed) > limits.GPUS_PER_NODE_MAX:
            raise RuntimeUnavailable(f"The prover lists {len(listed)} devices.")
        return tuple(str(one.get("uuid")) for one in listed)

    async def perform(self, request: ProverRequest) -> Sequence[Share]:
        """The answers of all devices to a request, in its order. RuntimeUnavailable: it cannot."""
        asked = {"op": request.op, "shares": list(request.shares)}
        shares = await self._ask(asked, "shares")
        if len(shares) != len(request.shares):
            raise RuntimeUnavailable("The prover did not answer for every device.")
        return shares

    async def _ask(self, request: dict[str, Any], wanted: str) -> list[dict[str, Any]]:
        self._number += 1
        line = json.dumps({"id": self._number, **request}, separators=(",", ":")).encode()
        most = limits.PROVER_ANSWER_MAX_BYTES
        said = await self._lines.ask(line, answer_max_bytes=most)
        if len(said) <= limits.PROVER_ANSWER_SHORT_BYTES:
            answer = _read(said)
        else:
            answer = await trio.to_thread.run_sync(_read, said, abandon_on_cancel=True)
        if answer.get("id") != self._number:
            raise RuntimeUnavailable("The prover answers something else than it was asked.")
        if "error" in answer:
            raise RuntimeUnavailable(f"The prover cannot: {str(answer['error'])[:300]}")
        found = answer.get(wanted)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise RuntimeUnavailable(f"The prover's answer has no list of {wanted}.")
        return found


def _read(said: bytes) -> dict[str, Any]:
    try:
        text = said.decode()
        # Of what is nested deeply enough, Python's parser ends the process.
        answer = None if too_deep(text) else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RuntimeUnavailable("The prover's answer is not JSON.") from error
    if not isinstance(answer, dict):
        raise RuntimeUnavailable("The prover's answer is no object.")
    return answer


class ProverRuns:
    """The provers of one agent."""

    def __init__(self, provers: Provers | None, images: tuple[str, ...]) -> None:
        """`provers` None: tasks are plain processes here. `images`: those that the owner allows."""
        self.images = images if provers is not None else ()
        self.why_none = NONE_NAMED if provers is not None else NOT_HIDDEN
        self._provers = provers
        self._wanted_send, self._wanted = trio.open_memory_channel[str](1)
        self._fetching: str | None = None
        self._failed: dict[str, str] = {}

    def chosen(self, accepted: tuple[str, ...]) -> str | None:
        """The first image of the owner's whose digest is among these; of none named, the first."""
        wanted = {digest_in(one) for one in accepted}
        found = (one for one in self.images if not wanted or digest_in(one) in wanted)
        return next(found, None)

    async def why_not(self, image: str) -> str:
        """Why an image cannot run at once; "" if it can. One that is not here is fetched from now
        on. RuntimeUnavailable: the engine is away."""
        assert self._provers is not None
        if await self._provers.is_here(image):
            self._failed.pop(image, None)
            return ""
        if self._fetching is None:
            try:
                self._wanted_send.send_nowait(image)
                self._fetching = image
            except trio.WouldBlock:
                pass
        failed = self._failed.get(image)
        return f"it could not be fetched: {failed}" if failed else "it is being fetched"

    @asynccontextmanager
    async def begin(self, image: str, claims: Sequence[Gpu]) -> AsyncGenerator[ProverSession, None]:
        """A prover with the GPUs of a claim, for as long as the block. Errors: as of `Provers`."""
        assert self._provers is not None
        own = sum(gpu.memory_bytes for gpu in claims if gpu.uuid.startswith(PROCESSOR))
        uuids = tuple(gpu.uuid for gpu in claims)
        await self._provers.sweep()
        async with self._provers.running(image, uuids, own) as lines:
            yield ProverSession(lines)

    async def run(self) -> None:
        """Fetch images that are asked for, one at a time, until cancelled."""
        async for image in self._wanted:
            assert self._provers is not None
            log.info("fetching the image of a prover", image=image)
            try:
                with trio.fail_after(limits.PULL_DEADLINE_MS / 1000):
                    await self._provers.fetch(image)
            except P2poolError as error:
                self._failed[image] = error.message
                log.warning("the image of a prover is not here", image=image, why=str(error))
            except trio.TooSlowError:
                self._failed[image] = "it takes too long"
            self._fetching = None
