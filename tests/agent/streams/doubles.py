"""Doubles around the node's side of a challenge: a stream, a prover, a machine, and a validator."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from nacl.signing import SigningKey

from p2pool.agent.streams.challenge import ChallengeServer, Identity
from p2pool.agent.streams.conversation import Conversation
from p2pool.agent.streams.intake import StreamIntake
from p2pool.agent.streams.leases import Leases
from p2pool.agent.streams.prover_runs import ProverRuns
from p2pool.agent.streams.validator_check import ValidatorCheck
from p2pool.agent.wire.sealer import Sealer
from p2pool.drivers.config.schema import ChallengeConfig
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.ids import Address, NodeId, PeerKey
from p2pool.model.machine.hardware import Gpu
from p2pool.model.timing import Now
from p2pool.model.validation.evidence import Evidence
from p2pool.model.validation.transcript import Openings
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.plan import plan_for
from p2pool.wire.envelope import open_sealed
from p2pool.wire.validation.evidence import sign_challenge, sign_evidence, verifies
from p2pool.wire.validation.verdict import verdict_of
from tests.validator.harness.nodes import SIZES, TABLE, VALIDATOR, SimulatedNode, claims_of
from tests.validator.harness.provers import PlainProver
from tests.wire.samples import POOL

IMAGE = "example.org/prover@sha256:" + "a" * 64
DIGEST = "sha256:" + "a" * 64
ACCOUNT = Address(bytes.fromhex(VALIDATOR.address[2:]))
VALIDATOR_KEY = SigningKey(bytes([8]) * 32)
NODE = SimulatedNode(1)
PATIENT = attrs.evolve(SIZES, slack_ms=60_000)
"""Nobody is late on a machine that is busy with other tests."""


@attrs.define
class Pipe:
    """One end of a stream of frames."""

    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]

    async def send_frame(self, data: bytes) -> None:
        await self.send.send(data)

    async def receive_frame(self, deadline_ms: int) -> bytes | None:
        with trio.fail_after(deadline_ms / 1000):
            try:
                return await self.receive.receive()
            except trio.EndOfChannel:
                return None

    async def end(self) -> None:
        self.send.close()


def opens(key: PeerKey, data: bytes, now: Now) -> m.Verified:
    """The way in, without budgets and hellos."""
    most = limits.STREAM_FRAME_MAX_BYTES
    return open_sealed(data, POOL, max_bytes=most, channel=m.Channel.CHALLENGE, signer=key)


def sealer_of(key: SigningKey, node_id: NodeId) -> Sealer:
    """Seals what the owner of a key says."""
    return Sealer(POOL, node_id, PeerKey(bytes(key.verify_key)), 1, key)


@attrs.define
class Runs:
    """Provers that are plain Python. `hold`: requests of this kind wait for `go`; `spoil` changes
    an answer on its way."""

    devices: tuple[str, ...] = ("GPU-0",)
    here: bool = True
    hold: str = ""
    held: trio.Event = attrs.Factory(trio.Event)
    go: trio.Event = attrs.Factory(trio.Event)
    spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer
    fails: Exception | None = None
    began: list[tuple[str, tuple[str, ...], int]] = attrs.Factory(list)
    ended: int = 0
    fetched: list[str] = attrs.Factory(list)
    prover: PlainProver = attrs.Factory(PlainProver)

    async def is_here(self, image: str) -> bool:
        return self.here

    async def fetch(self, image: str) -> None:
        self.fetched.append(image)
        self.here = True

    async def sweep(self) -> None:
        return None

    @asynccontextmanager
    async def running(
        self, image: str, gpus: tuple[str, ...], memory_bytes: int
    ) -> AsyncIterator["Runs"]:
        if self.fails is not None:
            raise self.fails
        self.began.append((image, gpus, memory_bytes))
        try:
            yield self
        finally:
            self.ended += 1

    async def ask(self, line: bytes, *, answer_max_bytes: int) -> bytes:
        asked = json.loads(line)
        if asked["op"] == self.hold:
            self.held.set()
            await self.go.wait()
        answer: dict[str, Any] = {"id": asked["id"]}
        if asked["op"] == "devices":
            answer["devices"] = [{"uuid": one} for one in self.devices]
        else:
            answer["shares"] = self.prover.perform(asked["op"], asked["shares"])
        said = self.spoil(answer)
        return said if isinstance(said, bytes) else json.dumps(said).encode()


@attrs.define
class Machine:
    """What a node claims, and what tasks have."""

    gpus: tuple[Gpu, ...] = attrs.Factory(lambda: tuple(claims_of()))
    leased: Leases = Leases()

    def claimed(self) -> tuple[Gpu, ...]:
        return self.gpus

    def leases(self) -> Leases:
        return self.leased


@attrs.define
class Place:
    """A node that may be challenged. `roles`: what the chain says; an error: it does not."""

    config: ChallengeConfig = ChallengeConfig(images=(IMAGE,), apart_s=0)
    runs: Any = attrs.Factory(Runs)
    machine: Machine = attrs.Factory(Machine)
    roles: dict[Address, bool | Exception] = attrs.Factory(lambda: {ACCOUNT: True})
    asked: list[Address] = attrs.Factory(list)
    charged: list[PeerKey] = attrs.Factory(list)
    affords: bool = True
    server: ChallengeServer = attrs.field(init=False)
    prover_runs: ProverRuns = attrs.field(init=False)
    intake: StreamIntake = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        validators = ValidatorCheck(self._charge)
        validators.asks = self._ask
        self.prover_runs = ProverRuns(self.runs, self.config.images)
        me = Identity(POOL, NODE.node_id, NODE.key, lambda count: bytes([7]) * count)
        self.server = ChallengeServer(me, self.config, self.machine, self.prover_runs, validators)
        self.intake = StreamIntake(sealer_of(NODE.key, NODE.node_id), opens)
        self.intake.serve_by(m.ChallengeProposed, self.server.serve)

    def _charge(self, peer_key: PeerKey, checks: int, now_ms: int) -> bool:
        self.charged.append(peer_key)
        return self.affords

    async def _ask(self, account: Address) -> bool:
        self.asked.append(account)
        found = self.roles.get(account, False)
        if isinstance(found, Exception):
            raise found
        return found

    @asynccontextmanager
    async def stream(
        self, key: SigningKey = VALIDATOR_KEY, account: Address = ACCOUNT
    ) -> AsyncIterator[Conversation]:
        """A stream that somebody opened: the other end of it."""
        there, here = trio.open_memory_channel[bytes](8), trio.open_memory_channel[bytes](8)
        node_end, their_end = Pipe(there[0], here[1]), Pipe(here[0], there[1])
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                key_of = PeerKey(bytes(key.verify_key))
                nursery.start_soon(self.intake.serve, key_of, node_end)
                sealer = sealer_of(key, NodeId(bytes(account)))
                yield Conversation(NODE.peer_key, their_end, sealer, opens)
                their_end.send.close()


async def propose(talk: Conversation, *images: str) -> Any:
    """Ask for a challenge; the answer."""
    await talk.send(m.ChallengeProposed(images))
    return await talk.receive(30_000)


Tap = Callable[[m.Message], m.Message | None]
"""What becomes of what a validator says; None: it says nothing, and waits."""


@attrs.define
class Validator:
    """Challenges one node over a stream, by the machine that a real one has."""

    talk: Conversation
    tap: Tap = lambda message: message
    accepts: tuple[str, ...] = (DIGEST,)
    parts: int = 0
    machine: rounds.ChallengeRounds | None = None

    async def challenge(self) -> Evidence | m.ChallengeDeclined:
        """All of it; what it shows, or why it was declined."""
        accepted = await propose(self.talk, *self.accepts)
        if isinstance(accepted, m.ChallengeDeclined):
            return accepted
        plan = plan_for(accepted.gpus, TABLE, PATIENT)
        self.machine = rounds.ChallengeRounds(
            validator=rounds.Validator(
                POOL, ACCOUNT, PeerKey(bytes(VALIDATOR_KEY.verify_key)), accepted.image
            ),
            claims=[NODE.claim(plan)],
            entropy=bytes([5]) * 32,
            verifies=verifies,
            started_ms=_now_ms(),
            wall_ms=time.time_ns() // 1_000_000,
        )
        self.machine.start()
        said: rounds.Input = rounds.ChannelOpened(
            NODE.node_id, self.talk.peer_key, accepted.node_nonce
        )
        while True:
            (effect,) = self.machine.step(said, _now_ms())
            if isinstance(effect, rounds.Ended):
                assert effect.transcript is not None, effect.reason
                return rounds.conclude(
                    effect.transcript, NODE.binding, verifies, time.time_ns() // 1_000_000
                )
            answer = await self._answer(effect)
            if isinstance(answer, m.ChallengeDeclined):
                return answer
            said = answer

    async def _answer(self, effect: Any) -> rounds.Input | m.ChallengeDeclined:
        if (message := self.tap(_message_of(effect))) is not None:
            await self.talk.send(message)
        answer = await self.talk.expect(30_000)
        if isinstance(answer, m.ChallengeDeclined):
            return answer
        if isinstance(answer, m.CommitmentMade):
            return rounds.Committed(NODE.node_id, answer.answer)
        shown = Openings()
        while isinstance(answer, m.OpeningsShown):
            self.parts += 1
            part = answer.openings
            shown = Openings((*shown.rows, *part.rows), (*shown.blocks, *part.blocks))
            if answer.last:
                return rounds.Opened(NODE.node_id, shown)
            answer = await self.talk.expect(30_000)
        raise AssertionError(answer)

    async def tell(self, evidence: Evidence) -> None:
        """Tell the node what came of it."""
        signed = sign_evidence(VALIDATOR, evidence)
        await self.talk.send(m.VerdictTold(verdict_of(signed)))


def _message_of(effect: Any) -> m.Message:
    if isinstance(effect, rounds.SendChallenge):
        return m.ChallengeIssued(effect.challenge, sign_challenge(VALIDATOR, effect.challenge))
    if isinstance(effect, rounds.Ask):
        return m.QuestionAsked(effect.question)
    assert isinstance(effect, rounds.Reveal)
    return m.SecretRevealed(effect.secret)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
