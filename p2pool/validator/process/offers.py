"""Offers verdicts to members, which pass them on, and the evidence behind them.

Intuition: a member checks a verdict by its signature and the chain, so it matters to nobody which
member it is. A few of those that are connected are asked; one that keeps the verdict is offered the
document too. What nobody took is offered again, the newest of each node only.

Invariants: bounded in number; a restart offers again what is newest, and members that have it say
so; no member makes anything raise here.
"""

from collections.abc import Collection

import attrs
import trio

from p2pool.codec.validation import evidence_of
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.verdicts import (
    EvidenceAnswered,
    EvidenceOffered,
    EvidencePart,
    VerdictAnswered,
    VerdictOffered,
)
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.validator.network.guest import GuestNetwork
from p2pool.validator.process.metrics import Metrics
from p2pool.validator.records.index_record import Record
from p2pool.validator.records.records import Records
from p2pool.wire.validation.verdict import verdict_of

log = get_logger(__name__)

LATER = frozenset({"role_unknown", "not_yet", "busy"})
"""Answers after which it is offered again; any other one that is no yes is the last word."""


@attrs.define
class Offers:
    """Of one run: what was concluded, and is not known to be with a member yet."""

    network: GuestNetwork
    records: Records
    metrics: Metrics
    members: Collection[NodeId] = ()
    waiting: dict[NodeId, Record] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def add(self, record: Record) -> None:
        """Offer it soon; an older one of the same node is not worth it any more."""
        if not record.document_bytes:
            return
        self.waiting.pop(record.finding.node_id, None)
        self.waiting[record.finding.node_id] = record
        while len(self.waiting) > limits.VALIDATOR_OFFERS_KEPT_MAX:
            del self.waiting[next(iter(self.waiting))]
        self.changed.set()

    async def run(self) -> None:
        """Offer until cancelled."""
        while True:
            await self.flush()
            self.changed = trio.Event()
            with trio.move_on_after(limits.VALIDATOR_RETRY_MS / 1000):
                await self.changed.wait()

    async def flush(self) -> None:
        """Offer each of them once."""
        for node_id, record in list(self.waiting.items()):
            if not self.network.members(self.members):
                return
            if await self._offered(record) and self.waiting.get(node_id) is record:
                del self.waiting[node_id]

    async def _offered(self, record: Record) -> bool:
        """Whether nothing more is to be done about it."""
        try:
            data = await trio.to_thread.run_sync(self.records.document(record).read_bytes)
            verdict = verdict_of(evidence_of(data))
        except (OSError, P2poolError) as error:
            log.warning("a document of evidence cannot be read", why=str(error))
            return True
        asked = self.network.members(self.members)[: limits.VALIDATOR_OFFERED_MAX]
        over = False
        for peer_key in asked:
            answer = await self._answer(peer_key, verdict)
            if answer is None or answer.code in LATER:
                continue
            over = True
            if answer.kept:
                await self._show(peer_key, verdict, data)
            else:
                log.info("a member does not keep a verdict", code=answer.code)
        return over

    async def _answer(self, peer_key: PeerKey, verdict: SignedVerdict) -> VerdictAnswered | None:
        question = VerdictOffered(self.network.next_number(), verdict)
        try:
            return await self.network.ask(peer_key, question, VerdictAnswered)
        except P2poolError:
            self.metrics.failed("offer")
            return None

    async def _show(self, peer_key: PeerKey, verdict: SignedVerdict, data: bytes) -> None:
        """Bring the document to a member that wants it."""
        most = limits.EVIDENCE_PART_MAX_BYTES
        try:
            async with await self.network.open_to(peer_key) as talk:
                await talk.say(EvidenceOffered(verdict, len(data)))
                told = await talk.hear_one(limits.VALIDATOR_ASK_MS, EvidenceAnswered)
                if not getattr(told, "accepted", False):
                    return
                for first in range(0, len(data), most):
                    last = first + most >= len(data)
                    await talk.say(EvidencePart(data[first : first + most], last))
                # It checks the whole document before it answers, which takes a while.
                await talk.hear_one(limits.VALIDATOR_ACCEPT_MS, EvidenceAnswered)
        except P2poolError as error:
            self.metrics.failed("show")
            log.debug("a document of evidence was not taken", why=error.message)
