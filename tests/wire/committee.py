"""A committee with real keys, and what it signs: for tests of what signatures prove."""

from collections.abc import Iterable
from itertools import pairwise

import attrs
from nacl.signing import SigningKey

from p2pool.codec.digests import committee_hash, log_id
from p2pool.codec.entries import encode_configuration
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef, StateDigest, StoreId
from p2pool.model.log.certificates import CommitteeChain, LeaderProof, LieProof, Link
from p2pool.model.log.raft import Configuration, Entry, EntryKind, Voter
from p2pool.model.messages.certificates import (
    CertificateSigned,
    ConfigurationSigned,
    HistorySigned,
)
from p2pool.model.messages.raft import AppendRequested, VoteAnswered
from p2pool.model.messages.registry import Header, Message, Verified
from p2pool.proofs.append_proof import bad_append
from p2pool.proofs.certificates import equivocation
from p2pool.wire.enclosures import open_one
from p2pool.wire.envelope import seal
from tests.wire.samples import NOW_MS, POOL

LOG = Digest(b"L" * 32)
STATE = StateDigest(b"\x01" + b"S" * 32)


@attrs.frozen
class Member:
    """Somebody who signs. `store`: another number for another disk of the same node."""

    number: int
    store: int = 0

    @property
    def key(self) -> SigningKey:
        return SigningKey(bytes([self.number + 1]) * 32)

    @property
    def voter(self) -> Voter:
        return Voter(
            NodeId(bytes([self.number + 1]) * 20),
            PeerKey(bytes(self.key.verify_key)),
            StoreId(bytes([self.number + 1, self.store]) * 8),
        )

    def seal(self, message: Message, pool: PoolRef = POOL) -> bytes:
        header = Header(
            node_id=self.voter.node_id,
            peer_key=self.voter.peer_key,
            incarnation=1,
            sequence=0,
            sent_at_ms=NOW_MS,
        )
        return seal(message, header, pool, self.key)

    def opened(self, message: Message, pool: PoolRef = POOL) -> Verified | None:
        return open_one(POOL, self.seal(message, pool), limits.BAD_APPEND_MAX_BYTES)


MEMBERS = [Member(n) for n in range(8)]
A, B, C, D = MEMBERS[:4]


def voters(members: Iterable[Member]) -> tuple[Voter, ...]:
    return tuple(sorted(m.voter for m in members))


def word(
    by: Member, members: Iterable[Member], leader: Member = A, **changed: object
) -> CertificateSigned:
    """A voter's word for a leader, with some fields changed."""
    plain = CertificateSigned(
        log_id=LOG,
        term=5,
        leader=leader.voter,
        voter=by.voter,
        committee_hash=committee_hash(voters(members)),
        commit_index=17,
        state_digest=STATE,
        time_ms=NOW_MS,
    )
    return attrs.evolve(plain, **changed)  # type: ignore[arg-type]


def vote(by: Member, candidate: Member, term: int = 5, **changed: object) -> VoteAnswered:
    """A granted vote, with some fields changed."""
    plain = VoteAnswered(
        log_id=LOG,
        term=term,
        candidate=candidate.voter,
        voter=by.voter,
        last_index=9,
        last_term=4,
        configuration_hash=Digest(b"c" * 32),
        pre=False,
        granted=True,
        reason="",
    )
    return attrs.evolve(plain, **changed)  # type: ignore[arg-type]


def history(by: Member, said: bytes = b"h", **changed: object) -> HistorySigned:
    """A voter's word for a history, with some fields changed."""
    plain = HistorySigned(LOG, 5, by.voter, 17, Digest(said * 32))
    return attrs.evolve(plain, **changed)  # type: ignore[arg-type]


GARBAGE = int(EntryKind.REQUEST), b"garbage"


def append(
    by: Member, body: tuple[int, bytes] = GARBAGE, to: Member = MEMBERS[1]
) -> AppendRequested:
    """What a leader appends right after what it was certified at; garbage unless told."""
    entry = Entry(18, 5, body[0], NOW_MS, body[1])
    return AppendRequested(LOG, 5, by.voter, to.voter, 17, 5, 17, 1, (entry,))


def takeover(by: Member) -> AppendRequested:
    """A leader makes itself the only voter by one entry."""
    return append(by, encode_configuration(Configuration((by.voter,))))


def lies(by: Member = C, group: Iterable[Member] = (A, B, C)) -> dict[str, LieProof]:
    """Proofs of all kinds against one voter; `takeover` is an append that takes its own word."""

    def two(one: Message, other: Message) -> LieProof:
        return equivocation(by.opened(one), by.opened(other))

    word_of_itself = by.opened(word(by, group, leader=by))
    return {
        "vote": two(vote(by, A), vote(by, B)),
        "certificate": two(word(by, group), word(by, group, leader=B)),
        "history": two(history(by), history(by, b"x")),
        "change": two(change(by, group, (A, B)), change(by, group, (A, C))),
        "append": bad_append(by.opened(append(by))),
        "takeover": bad_append(by.opened(takeover(by)), word_of_itself, voters(group)),
    }


def change(
    by: Member, before: Iterable[Member], after: Iterable[Member], index: int = 7, term: int = 2
) -> ConfigurationSigned:
    """A voter's word for a change of the voters."""
    return ConfigurationSigned(
        log_id=LOG,
        index=index,
        term=term,
        previous_hash=committee_hash(voters(before)),
        new_hash=committee_hash(voters(after)),
        voter=by.voter,
    )


# --- a whole proof --------------------------------------------------------------------------------

FOUNDING = RootRecord(1, A.voter.node_id, A.voter.peer_key, A.voter.store_id)
GROWTH = ((A,), (A, B), (A, B, C))


def proven(pool: PoolRef = POOL, at_ms: int = NOW_MS) -> LeaderProof:
    """A log that A founded and leads, of three voters since two changes, each certified."""
    name = log_id(pool, FOUNDING)
    links = []
    for index, (before, after) in enumerate(pairwise(GROWTH), start=7):
        words = [attrs.evolve(change(m, before, after, index), log_id=name) for m in before]
        sealed = tuple(m.seal(w, pool) for m, w in zip(before, words, strict=True))
        links.append(
            Link(index=index, term=2, at_ms=at_ms, voters=voters(after), signatures=sealed)
        )
    certificate = tuple(
        m.seal(word(m, (A, B, C), log_id=name, time_ms=at_ms), pool) for m in (A, C)
    )
    votes = tuple(m.seal(vote(m, A, log_id=name), pool) for m in (A, B))
    return LeaderProof(
        log_id=name,
        root=FOUNDING,
        chain=CommitteeChain(1, voters([A]), tuple(links)),
        certificate=certificate,
        votes=votes,
    )
