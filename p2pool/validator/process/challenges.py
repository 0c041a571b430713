"""Challenges nodes and keeps what comes of it, signed, before anything follows from it.

Invariants: evidence is on the disk before its verdict is told to anybody; one document is concluded
at a time, beside the loop, so that the times of others stay theirs; whom nobody can reach is
`offline` only while we reach somebody.
"""

import secrets
from collections.abc import Sequence
from functools import partial

import attrs
import trio

from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.evidence import SignedEvidence, Transcript
from p2pool.model.validation.transcript import Challenge
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.validator.challenge.conduct import Means, Settle, Sitting
from p2pool.validator.challenge.outcome import (
    Outcome,
    Unchallenged,
    finding_of_evidence,
    finding_of_outcome,
    sentence_of,
)
from p2pool.validator.challenge.rounds import Validator, conclude
from p2pool.validator.network.guest import GuestNetwork
from p2pool.validator.network.sealer import wall_ms
from p2pool.validator.process.metrics import Metrics
from p2pool.validator.process.node_offer import Offered, offers_more, shown_by
from p2pool.validator.process.options import ValidatorOptions
from p2pool.validator.process.rota import Candidate
from p2pool.validator.records.index_record import Record
from p2pool.validator.records.records import Records
from p2pool.wire.validation.evidence import sign_challenge, sign_evidence, verifies
from p2pool.wire.validation.verdict import verdict_of

log = get_logger(__name__)


def record_of(signed: SignedEvidence, provider: Address) -> Record:
    """The record of a document, as it is made whenever it is made."""
    evidence = signed.evidence
    faults = ", ".join(dict.fromkeys(one.fault.value for one in evidence.faults))
    why = evidence.conclusion.value + (f": {faults}" if faults else "")
    return Record(finding=finding_of_evidence(evidence, provider), why=why)


@attrs.frozen
class Result:
    """What came of asking one node, as it was kept. `signed`: the document, if there is one;
    `more`: what was found beside it, that it offers the pool more than it showed."""

    outcome: Outcome
    record: Record
    signed: SignedEvidence | None = None
    more: Record | None = None


@attrs.define
class Challenges:
    """Of one run."""

    options: ValidatorOptions
    network: GuestNetwork
    records: Records
    metrics: Metrics
    disk: trio.Lock = attrs.field(factory=trio.Lock)
    _concludes: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def challenge(self, candidates: Sequence[Candidate]) -> list[Result]:
        """The nodes of one provider, all at once."""
        provider = candidates[0].provider
        began_s = trio.current_time()
        node_ids = [one.node_id for one in candidates]
        answered = await self.network.find(node_ids)
        asked = [one for one in candidates if self._is_ours(one)]
        signed: dict[NodeId, SignedEvidence] = {}

        async def settle(
            node_id: NodeId, transcript: Transcript, binding: PeerBinding
        ) -> SignedVerdict | None:
            made = await self._settled(node_id, transcript, binding, provider)
            if made is None:
                return None
            signed[node_id] = made
            return verdict_of(made)

        outcomes = await Sitting(self._means(settle)).run([one.node_id for one in asked])
        told = {one: self._said_of(outcomes[one], answered) for one in outcomes}
        kept = [await self._kept(told[one.node_id], provider, signed) for one in asked]
        found = [one for one in kept if one is not None]
        found = [await self._compared(one) for one in found]
        kinds = ((one.more or one.record).finding.kind for one in found)
        self.metrics.sat(kinds, trio.current_time() - began_s)
        return found

    def _is_ours(self, candidate: Candidate) -> bool:
        """A node that waits to be validated is asked only where it shows itself on this pool's
        network: the registry is that of all pools."""
        return candidate.is_member or self.network.binding_of(candidate.node_id) is not None

    def _means(self, settle: Settle) -> Means:
        options = self.options
        return Means(
            validator=Validator(options.pool, options.address, self.network.peer_key, ""),
            network=self.network,
            table=options.table,
            settle=settle,
            sign=self._signature,
            entropy=lambda: secrets.token_bytes(32),
            wall_ms=wall_ms,
            sizes=options.sizes,
            images=options.images,
        )

    async def _signature(self, challenge: Challenge) -> bytes:
        sign = partial(sign_challenge, self.options.account, challenge)
        return await trio.to_thread.run_sync(sign, abandon_on_cancel=True)

    async def _settled(
        self, node_id: NodeId, transcript: Transcript, binding: PeerBinding, provider: Address
    ) -> SignedEvidence | None:
        """Evidence, concluded, signed and on the disk; None if that failed here."""

        def made() -> SignedEvidence:
            evidence = conclude(transcript, binding, verifies, wall_ms())
            return sign_evidence(self.options.account, evidence)

        try:
            signed = await trio.to_thread.run_sync(
                made, limiter=self._concludes, abandon_on_cancel=True
            )
            record = record_of(signed, provider)
            async with self.disk:
                await trio.to_thread.run_sync(self.records.keep, record, signed)
        except P2poolError as error:
            self.metrics.failed("settle")
            log.error(
                "a challenge came to nothing: its evidence could not be made or kept",
                node="0x" + node_id.hex(),
                why=error.message,
                hint=error.hint,
            )
            return None
        return signed

    def _said_of(self, outcome: Outcome, answered: bool) -> Outcome:
        """What came of one node. Nobody is offline for what is ours: that we reach nobody, or that
        nobody whom we reach has answered where it is."""
        if outcome.why is not Unchallenged.OFFLINE:
            return outcome
        if not self.network.reached():
            reason = "We reach nobody on the pool's network."
        elif not answered and self.network.binding_of(outcome.node_id) is None:
            reason = "Nobody whom we reach has answered where it is."
        else:
            return outcome
        return attrs.evolve(outcome, why=Unchallenged.CUT_OFF, reason=reason)

    async def _compared(self, result: Result) -> Result:
        """The same, with what is found by comparing what the node showed with what it offers."""
        shown, agent = shown_by(result.outcome, result.signed), self.options.agent
        if shown is None or agent is None:
            return result
        offered = await Offered.of(agent, result.outcome.node_id)
        more = offers_more(result.record, offered, shown) if offered is not None else None
        if more is None or not await self._in_index(more):
            return result
        log.warning(
            "a node offers the pool more than it shows",
            node="0x" + result.outcome.node_id.hex(),
            why=more.why,
        )
        return attrs.evolve(result, more=more)

    async def _in_index(self, record: Record) -> bool:
        try:
            async with self.disk:
                await trio.to_thread.run_sync(self.records.keep, record)
        except P2poolError as error:
            self.metrics.failed("keep")
            log.error("a finding could not be kept", why=error.message, hint=error.hint)
            return False
        return True

    async def _kept(
        self, outcome: Outcome, provider: Address, signed: dict[NodeId, SignedEvidence]
    ) -> Result | None:
        """What came of one node, in the index; None if it cannot be kept."""
        node_id = outcome.node_id
        document = signed.get(node_id)
        if document is not None:
            record = self.records.found[finding_of_evidence(document.evidence, provider).finding_id]
            return Result(outcome, record, document)
        finding = finding_of_outcome(outcome, self.options.address, provider, wall_ms())
        record = Record(finding=finding, why=sentence_of(outcome)[: limits.TEXT_MAX_BYTES])
        return Result(outcome, record) if await self._in_index(record) else None
