"""Documents of evidence between agents: brought by validators, given and fetched among members.

Intuition: a verdict goes to everybody, its document to few: to the node that it is about, and to
members to whom a validator brings it. Whoever wants to check a verdict asks its agent, which gets
the document from one of those. A document is taken by its hash: where that is the one in a verdict
that this node holds, the bytes are what the validator signed.

Invariants: nothing is received of which there is no verdict here, or no room; never more bytes than
were stated; so many at a time, of each peer one, each with a deadline, and none of a stranger's;
what others bring keeps nobody from fetching; only members draw documents, up to a budget.
Nothing here reads a document beyond its challenge: checking is for whoever wants to know
(`p2pool verify validation`). Source: docs/design/validation.md, "What becomes of a verdict".
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.streams.conversation import Conversation
from p2pool.codec.validation import document_challenge
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.store.evidence_files import EvidenceFiles, is_named
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.errors import (
    Malformed,
    NotForUs,
    NotFound,
    Overloaded,
    P2poolError,
    Refusal,
    StoreFailed,
    Unavailable,
)
from p2pool.model.ids import Digest, NodeId, PeerKey
from p2pool.model.messages.verdicts import (
    EvidenceAnswered,
    EvidenceOffered,
    EvidencePart,
    EvidenceRequested,
    VerdictCode,
)
from p2pool.model.validation.verdict import SignedVerdict, StoredDocument
from p2pool.proofs.validation.seeds import challenge_id

log = get_logger(__name__)

VerdictNamed = Callable[[Digest], SignedVerdict | None]
"""The verdict that this node holds, by the digest of its evidence."""
Holders = Callable[[NodeId], tuple[PeerKey, ...]]
"""Members that may have the document on a node, the likeliest first."""
Belongs = Callable[[NodeId], bool]
"""Whether a node is a member of the pool."""
Opens = Callable[[PeerKey], AbstractAsyncContextManager[Conversation]]
"""A stream to a member, closed at the end. NotFound, NotAllowed, Unavailable: there is none."""


class EvidenceExchange:
    """`model.ports.evidence.EvidenceKeeper` of one agent, and its side of the streams."""

    def __init__(
        self,
        files: EvidenceFiles,
        verdict_named: VerdictNamed,
        holders: Holders,
        opens: Opens,
        belongs: Belongs,
    ) -> None:
        """Nothing is kept or given before `run`."""
        self.counters: Counter[str] = Counter()
        self._files, self._verdict_named = files, verdict_named
        self._holders, self._opens, self._belongs = holders, opens, belongs
        self._loaded = False
        self._changes = trio.Lock()
        self._bringing: set[PeerKey] = set()
        self._fetching = 0
        self._giving = 0
        self._drawn = TokenBuckets(
            limits.EVIDENCE_GIVEN_KIB_PER_S,
            limits.EVIDENCE_GIVEN_KIB_BURST,
            limits.PEERS_TRACKED_MAX,
        )

    async def run(self) -> None:
        """Read what the disk has. A folder that cannot be used keeps the agent from nothing else:
        it then keeps no documents, and says so."""
        try:
            await trio.to_thread.run_sync(self._files.load)
        except StoreFailed as error:
            log.error("evidence is not kept here", why=error.message)
            return
        self._loaded = True

    # --- for the local API ------------------------------------------------------------------------

    def is_here(self, digest: Digest) -> bool:
        """See the port."""
        return digest in self._files.notes

    def contradicts(self, digest: Digest) -> Digest | None:
        """See the port."""
        note = self._files.notes.get(digest)
        found = self._files.contradictions.get(note.challenge) if note is not None else None
        if note is None or found is None:
            return None
        pair = [one.verdict.verdict.evidence for one in (found.first, found.second)]
        return next((one for one in pair if one != digest), None) if digest in pair else None

    async def document(self, digest: Digest) -> bytes:
        """See the port."""
        if self.is_here(digest):
            return await self._read(digest)
        signed = self._verdict_named(digest)
        if signed is None:
            raise NotFound(
                "This agent holds no verdict that names such evidence.",
                hint="See what there is: p2pool validation ls.",
            )
        if self._fetching >= limits.EVIDENCE_TAKEN_AT_ONCE_MAX:
            raise Overloaded("Other evidence is being fetched.", hint="Retry in a minute.")
        self._fetching += 1
        try:
            return await self._fetched(signed)
        finally:
            self._fetching -= 1

    async def _fetched(self, signed: SignedVerdict) -> bytes:
        """From the first that has it. Each is asked in turn, and what it gives is checked."""
        verdict = signed.verdict
        asked = self._holders(verdict.node_id)[: limits.EVIDENCE_PEERS_ASKED_MAX]
        for peer_key in asked:
            data: bytes | None = None
            try:
                with trio.move_on_after(limits.EVIDENCE_FETCH_MS / 1000):
                    data = await self._ask(peer_key, signed)
            except P2poolError as error:
                log.debug("a member did not give evidence", why=error.message)
            if data is not None:
                await self._keep(signed, data)
                return data
        raise NotFound(
            f"None of the {len(asked)} members that were asked has this evidence.",
            hint="The validator that made it keeps it, and so does the node that it is about.",
        )

    async def _ask(self, peer_key: PeerKey, signed: SignedVerdict) -> bytes | None:
        """The document from one member; None: it does not have it."""
        async with self._opens(peer_key) as talk:
            await talk.send(EvidenceRequested(signed.verdict.evidence))
            answer = await talk.expect(limits.EVIDENCE_PART_MS)
            if not isinstance(answer, EvidenceAnswered):
                raise NotForUs("A member answered with something else than evidence.")
            if not answer.accepted:
                return None
            data = await self._received(talk, answer.size_bytes)
            if not await trio.to_thread.run_sync(is_named, signed, data):
                raise Malformed("A member gave another document than was asked for.")
            return data

    # --- what is brought --------------------------------------------------------------------------

    async def take(self, offer: EvidenceOffered, talk: Conversation) -> None:
        """A validator, or a member, brings a document."""
        signed = self._verdict_named(offer.verdict.verdict.evidence)
        code = self._refusal(offer, signed, talk)
        if code is not None or signed is None:
            await self._answer(talk, code or VerdictCode.NO_VERDICT)
            return
        self._bringing.add(talk.peer_key)
        try:
            await talk.send(EvidenceAnswered(True, offer.size_bytes, ""))
            data = await self._received(talk, offer.size_bytes)
        finally:
            self._bringing.discard(talk.peer_key)
        code = await self._keep(signed, data)
        self.counters["taken" if code is None else f"refused_{code.value}"] += 1
        await self._answer(talk, code)

    def _refusal(
        self, offer: EvidenceOffered, signed: SignedVerdict | None, talk: Conversation
    ) -> VerdictCode | None:
        """Why a document is not wanted, before a byte of it comes."""
        digest = offer.verdict.verdict.evidence
        if signed is None or signed.verdict != offer.verdict.verdict:
            return VerdictCode.NO_VERDICT
        if not self._may_bring(talk.account, signed):
            return VerdictCode.STRANGER
        if self.is_here(digest):
            return VerdictCode.KNOWN
        if not self._loaded or offer.size_bytes > limits.EVIDENCE_KEPT_DOCUMENT_MAX_BYTES:
            return VerdictCode.NO_ROOM
        full = len(self._bringing) >= limits.EVIDENCE_TAKEN_AT_ONCE_MAX
        if full or talk.peer_key in self._bringing:
            return VerdictCode.BUSY
        return None

    def _may_bring(self, account: NodeId | None, signed: SignedVerdict) -> bool:
        """Anybody can read a verdict, name it, and send a document so slowly that no other one has
        room meanwhile: so a stranger brings none."""
        if account is None:
            return False
        return bytes(account) == bytes(signed.verdict.validator) or self._belongs(account)

    async def _answer(self, talk: Conversation, code: VerdictCode | None) -> None:
        await talk.send(EvidenceAnswered(code is None, 0, code.value if code is not None else ""))

    async def _received(self, talk: Conversation, size_bytes: int) -> bytes:
        """All parts, in time."""
        if size_bytes > limits.EVIDENCE_KEPT_DOCUMENT_MAX_BYTES:
            raise Overloaded("The document is larger than this agent takes.")
        data = bytearray()
        patience_s = limits.EVIDENCE_PART_MS / 1000
        patience_s += size_bytes / 1024 / limits.EVIDENCE_KIB_PER_S_MIN
        with trio.move_on_after(patience_s):
            while True:
                part = await talk.expect(limits.EVIDENCE_PART_MS)
                if not isinstance(part, EvidencePart) or len(data) + len(part.data) > size_bytes:
                    raise Malformed("Evidence did not come in the parts that were stated.")
                data += part.data
                if part.last:
                    return bytes(data)
        raise Unavailable("Evidence came too slowly.", hint="Send it again.")

    async def _keep(self, signed: SignedVerdict, data: bytes) -> VerdictCode | None:
        """Keep a document if it is the one that a verdict names."""
        verdict = signed.verdict
        try:
            challenge = await trio.to_thread.run_sync(document_challenge, data)
            named = await trio.to_thread.run_sync(is_named, signed, data)
        except Refusal:
            return VerdictCode.OTHER_DIGEST
        said = (challenge.pool, challenge.validator, challenge.node_id)
        if not named or said != (verdict.pool, verdict.validator, verdict.node_id):
            return VerdictCode.OTHER_DIGEST
        note = StoredDocument(signed, challenge_id(challenge), len(data))
        async with self._changes:
            if not self._loaded:
                return VerdictCode.NO_ROOM
            if self.is_here(verdict.evidence):
                return None
            try:
                kept = await trio.to_thread.run_sync(self._files.keep, note, data)
            except StoreFailed as error:
                log.warning("evidence is not kept", why=error.message)
                kept = False
        return None if kept else VerdictCode.NO_ROOM

    # --- what is given ----------------------------------------------------------------------------

    async def give(self, request: EvidenceRequested, talk: Conversation) -> None:
        """A member asks for a document."""
        note = self._files.notes.get(request.evidence)
        if note is None:
            await self._answer(talk, VerdictCode.NOT_HERE)
            return
        kib, now_ms = 1 + note.size_bytes // 1024, read_clock().mono_ms
        busy = self._giving >= limits.EVIDENCE_GIVEN_AT_ONCE_MAX
        if busy or not self._drawn.admit(talk.peer_key, now_ms, kib):
            await self._answer(talk, VerdictCode.BUSY)
            return
        self._giving += 1
        try:
            data = await self._read(request.evidence)
            await talk.send(EvidenceAnswered(True, len(data), ""))
            for part in parts_of(data):
                await talk.send(part)
        finally:
            self._giving -= 1
        self.counters["given"] += 1

    async def _read(self, digest: Digest) -> bytes:
        """A document from the disk. NotFound: it is gone, or was damaged there."""
        async with self._changes:
            data = await trio.to_thread.run_sync(self._files.read, digest)
        if data is None:
            raise NotFound("The evidence is not on the disk any more.", hint="Ask another agent.")
        return data


def parts_of(data: bytes) -> list[EvidencePart]:
    """A document as messages carry it, in order."""
    most = limits.EVIDENCE_PART_MAX_BYTES
    starts = range(0, max(1, len(data)), most)
    return [EvidencePart(data[at : at + most], at + most >= len(data)) for at in starts]
