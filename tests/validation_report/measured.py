"""One challenge, measured on both sides: the reference prover as a process, the rest in this one.

Intuition: the frames are those of the network, sealed and counted, but they go from hand to hand;
so the time is that of the work. Processor time of this process is told apart by who was at it: the
node's side, or else the validator's.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import attrs
import psutil
import trio
from nacl.signing import SigningKey

from p2pool.codec.validation import evidence_bytes
from p2pool.model.ids import Address, PeerKey
from p2pool.model.machine.hardware import Gpu
from p2pool.model.messages.registry import Message
from p2pool.model.validation.evidence import Evidence, SignedEvidence, Transcript
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.model.validation.work import Plan
from p2pool.proofs.validation.bounds import Shown, shown
from p2pool.validator.challenge.conduct import Means, Sitting
from p2pool.validator.challenge.figures import FigureTable
from p2pool.validator.challenge.rounds import Validator, conclude
from p2pool.validator.network.sealer import Sealer
from p2pool.wire.validation.evidence import (
    sign_challenge,
    sign_evidence,
    verifies,
    verify_evidence,
)
from p2pool.wire.validation.verdict import verdict_of
from tests.e2e.validator.calibration import MEMORY_BYTES, MODEL, Prover, prover
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode
from tests.validator.harness.provers import PlainProver
from tests.validator.harness.talks import Double, DoubleNetwork, End
from tests.wire.samples import NOW_MS, POOL

NODE = 1
VALIDATOR_PEER = SigningKey(bytes([8]) * 32)


@attrs.define
class ByProcess(PlainProver):
    """Asks the prover's process."""

    process: Prover = attrs.field(kw_only=True)

    def perform(self, op: str, shares: Sequence[Any]) -> list[dict[str, Any]]:
        """What the process answers."""
        return self.process.perform(op, shares)


@attrs.define
class Clocked(SimulatedNode):
    """A node whose processor time, but for the prover's, is added up."""

    cpu_s: float = 0.0

    def on_effect(self, effect: Any, now_ms: int) -> Any:
        """As it answers."""
        began = time.process_time()
        try:
            return SimulatedNode.on_effect(self, effect, now_ms)
        finally:
            self.cpu_s += time.process_time() - began


@attrs.define
class Counted:
    """A conversation whose frames are sealed, to know how many bytes they have."""

    end: End
    ours: Sealer
    theirs: Sealer
    said_bytes: int = 0
    heard_bytes: int = 0

    async def say(self, message: Message) -> None:
        """To the node."""
        self.said_bytes += len(self.ours.seal(message)[1])
        await self.end.say(message)

    async def hear(self, deadline_ms: int) -> Message:
        """From the node."""
        message = await self.end.hear(deadline_ms)
        self.heard_bytes += len(self.theirs.seal(message)[1])
        return message

    async def __aexit__(self, kind: None, error: None, trace: None, /) -> None:
        """Close it."""
        await self.end.__aexit__(kind, error, trace)


@attrs.define
class CountedNetwork:
    """Reaches the one node."""

    inner: DoubleNetwork
    node: SimulatedNode
    talk: Counted | None = None

    def binding_of(self, node_id: Any) -> Any:
        """As it is known."""
        return self.inner.binding_of(node_id)

    async def open(self, node_id: Any) -> Counted:
        """The one conversation."""
        ours = Sealer(POOL, self.node.node_id, VALIDATOR_PEER)
        theirs = Sealer(POOL, self.node.node_id, self.node.key)
        self.talk = Counted(await self.inner.open(node_id), ours, theirs)
        return self.talk


@attrs.frozen(kw_only=True)
class Measured:
    """What one challenge cost, and showed."""

    plan: Plan
    evidence: Evidence
    shown: Shown
    whole_s: float
    step_ms: tuple[int, ...]
    prover_cpu_s: float
    node_cpu_s: float
    conclude_s: float
    validator_cpu_s: float
    verify_s: float
    sent_bytes: int
    received_bytes: int
    document_bytes: int


def measure(table: FigureTable) -> Measured:
    """One challenge of one device."""
    with prover() as process:
        return trio.run(_measured, table, process)


async def _measured(table: FigureTable, process: Prover) -> Measured:
    claims = [Gpu("CPU-0", MODEL, MEMORY_BYTES)]
    node = Clocked(NODE, claims=claims, prover=ByProcess(process=process))
    found: list[SignedEvidence] = []
    conclude_s = 0.0

    async def settle(node_id: Any, transcript: Transcript, binding: Any) -> SignedVerdict:
        nonlocal conclude_s
        began = time.process_time()
        evidence = conclude(transcript, binding, verifies, NOW_MS)
        conclude_s = time.process_time() - began
        found.append(sign_evidence(VALIDATOR, evidence))
        return verdict_of(found[0])

    async def sign(challenge: Any) -> bytes:
        return sign_challenge(VALIDATOR, challenge)

    watched = psutil.Process(process.process.pid)
    prover_before = _cpu_s(watched)
    began, cpu_began = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        inner = DoubleNetwork.of([Double(node, real_time=True)], nursery)
        network = CountedNetwork(inner, node)
        account = Address(bytes.fromhex(VALIDATOR.address[2:]))
        key = PeerKey(bytes(VALIDATOR_PEER.verify_key))
        means = Means(
            validator=Validator(POOL, account, key, ""),
            network=network,
            table=table,
            settle=settle,
            sign=sign,
            entropy=lambda: os.urandom(32),
            wall_ms=lambda: NOW_MS,
            sizes=table.sizes,
        )
        await Sitting(means).run([node.node_id])
        nursery.cancel_scope.cancel()
    whole_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    (signed,) = found
    began = time.process_time()
    verify_evidence(POOL, signed)
    verify_s = time.process_time() - began
    transcript = signed.evidence.transcript
    assert network.talk is not None
    return Measured(
        plan=transcript.challenge.plan,
        evidence=signed.evidence,
        shown=shown(transcript)[0],
        whole_s=whole_s,
        step_ms=tuple(step.elapsed_ms for step in transcript.steps),
        prover_cpu_s=_cpu_s(watched) - prover_before,
        node_cpu_s=node.cpu_s,
        conclude_s=conclude_s,
        validator_cpu_s=cpu_s - node.cpu_s,
        verify_s=verify_s,
        sent_bytes=network.talk.said_bytes,
        received_bytes=network.talk.heard_bytes,
        document_bytes=len(evidence_bytes(signed)),
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
