"""Agents in one process that bring each other evidence, over streams without a network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from p2pool.agent.streams.evidence import EvidenceExchange, parts_of
from p2pool.codec.validation import evidence_bytes
from p2pool.drivers.store.evidence_files import EvidenceFiles
from p2pool.model.errors import P2poolError, Unavailable
from p2pool.model.ids import Digest, NodeId, PeerKey
from p2pool.model.messages.registry import Message
from p2pool.model.messages.verdicts import (
    EvidenceAnswered,
    EvidenceOffered,
    EvidenceRequested,
    VerdictCode,
)
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.validation.evidence import sign_evidence
from p2pool.wire.validation.verdict import verdict_of
from tests.docs.generator.validation import PLAN
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge

NODE = SimulatedNode(1)
EVIDENCE = challenge(NODE, claims=[NODE.claim(PLAN)]).evidence[NODE.node_id]
SIGNED = sign_evidence(VALIDATOR, EVIDENCE)
DOCUMENT, VERDICT = evidence_bytes(SIGNED), verdict_of(SIGNED)
OTHER = sign_evidence(
    VALIDATOR, attrs.evolve(EVIDENCE, concluded_at_ms=EVIDENCE.concluded_at_ms + 5_000)
)
PEERS = tuple(PeerKey(bytes([number]) * 32) for number in range(1, 7))


MEMBERS = frozenset({NodeId(b"\x4d" * 20)})
BRINGER = NodeId(bytes(VERDICT.verdict.validator))
"""The account that brings documents, unless a test says otherwise."""


@attrs.define
class Talk:
    """One end of a stream."""

    peer_key: PeerKey
    out: trio.MemorySendChannel[Message]
    into: trio.MemoryReceiveChannel[Message]
    account: NodeId = BRINGER

    async def send(self, message: Message) -> None:
        try:
            await self.out.send(message)
        except trio.BrokenResourceError as error:
            raise Unavailable("gone") from error

    async def expect(self, deadline_ms: int) -> Message:
        try:
            with trio.fail_after(deadline_ms / 1000):
                return await self.into.receive()
        except (trio.EndOfChannel, trio.TooSlowError) as error:
            raise Unavailable("gone or late") from error

    async def end(self) -> None:
        await self.out.aclose()


def pair() -> tuple[Talk, Talk]:
    there, back = trio.open_memory_channel[Message](99), trio.open_memory_channel[Message](99)
    return Talk(PEERS[0], there[0], back[1]), Talk(PEERS[1], back[0], there[1])


@attrs.define
class Agents:
    """Agents that may ask each other; `down`: who cannot be reached; `opened`: who was asked."""

    path: Path
    all: dict[PeerKey, EvidenceExchange] = attrs.Factory(dict)
    verdicts: dict[Digest, SignedVerdict] = attrs.Factory(
        lambda: {one.verdict.evidence: one for one in (VERDICT, verdict_of(OTHER))}
    )
    down: set[PeerKey] = attrs.Factory(set)
    opened: list[PeerKey] = attrs.Factory(list)
    gives: dict[PeerKey, list[Message]] = attrs.Factory(dict)

    async def make(self, number: int) -> EvidenceExchange:
        files = EvidenceFiles(self.path / str(number))
        made = EvidenceExchange(
            files,
            self.verdicts.get,
            self.holders,
            self.open,  # type: ignore[arg-type]
            MEMBERS.__contains__,
        )
        await made.run()
        self.all[PEERS[number]] = made
        return made

    def holders(self, node_id: NodeId) -> tuple[PeerKey, ...]:
        return PEERS[1:]

    @asynccontextmanager
    async def open(self, peer_key: PeerKey) -> AsyncIterator[Talk]:
        self.opened.append(peer_key)
        if peer_key in self.down:
            raise Unavailable("The member cannot be reached.")
        ours, theirs = pair()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve, peer_key, theirs)
                yield ours
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:  # What the stream's user raised, and nothing else.
            found = group.subgroup(P2poolError)
            assert found is not None
            raise found.exceptions[0] from None

    async def serve(self, peer_key: PeerKey, talk: Talk) -> None:
        request = await talk.expect(1_000)
        assert isinstance(request, EvidenceRequested)
        if peer_key in self.gives:
            for message in self.gives[peer_key]:
                await talk.send(message)
        elif peer_key in self.all:
            await self.all[peer_key].give(request, talk)  # type: ignore[arg-type]
        else:
            await talk.send(EvidenceAnswered(False, 0, VerdictCode.NOT_HERE))


async def offer(
    to: EvidenceExchange,
    verdict: SignedVerdict = VERDICT,
    document: bytes = DOCUMENT,
    size: int | None = None,
    account: NodeId = BRINGER,
) -> list[EvidenceAnswered]:
    """Bring a document, as a validator does; what is answered."""
    ours, theirs = pair()
    theirs.account = account
    said = EvidenceOffered(verdict, len(document) if size is None else size)
    answers: list[EvidenceAnswered] = []

    async def hear() -> EvidenceAnswered:
        answer = await ours.expect(5_000)
        assert isinstance(answer, EvidenceAnswered)
        answers.append(answer)
        return answer

    async with trio.open_nursery() as nursery:
        nursery.start_soon(to.take, said, theirs)  # type: ignore[arg-type]
        if (await hear()).accepted:
            for part in parts_of(document):
                await ours.send(part)
            await hear()
    return answers
