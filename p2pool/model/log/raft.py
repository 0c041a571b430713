"""The log's nouns: voters, configurations, entries, the stored state, snapshots.

A voter is (node id, peer key, store id): another store id is another voter, so a disk that was
wiped, cloned or restored is never taken for the one that voted (docs/design/identities.md, "The
store"). An entry keeps the bytes it was written with, so one that a newer version wrote survives an
older one.
"""

from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Annotated, TypeVar

import attrs

from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL, since
from p2pool.model.field_bounds import Index, Term, bounded
from p2pool.model.ids import Digest, NodeId, PeerKey, StateDigest, StoreId

T = TypeVar("T")


@attrs.frozen(order=True)
class Voter:
    """A participant in the log, as its configuration entry fixes it."""

    node_id: NodeId
    peer_key: PeerKey
    store_id: StoreId


Voters = Annotated[tuple[Voter, ...], bounded(items=limits.VOTERS_MAX + 1)]
"""Voters of one log: one more than the limit while a change is in progress."""


def majority(count: int) -> int:
    """The size of a quorum of `count` voters: any two quorums have a voter in common."""
    return count // 2 + 1


def is_quorum(halves: Sequence[Sequence[T]], agreeing: Collection[T]) -> bool:
    """Whether these are a majority of each committee; without voters nobody is."""
    return all(sum(one in agreeing for one in half) >= majority(len(half)) for half in halves)


@attrs.frozen
class Configuration:
    """Voters and learners, each sorted by node id.

    With `outgoing` voters it is joint (Raft, section 6): the log is on its way from these to
    `voters`, and whatever takes a majority takes one of each.
    """

    voters: Voters
    learners: Annotated[tuple[Voter, ...], bounded(items=limits.LEARNERS_MAX + 1)] = ()
    outgoing: Voters = since(DISTRUST_LEVEL, default=())

    @property
    def is_joint(self) -> bool:
        """Whether the log is between two committees."""
        return bool(self.outgoing)

    @property
    def halves(self) -> tuple[tuple[Voter, ...], ...]:
        """The committees of which each has to agree by a majority: two while joint."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    def has_quorum(self, agreeing: Collection[StoreId]) -> bool:
        """Whether these stores are a quorum: a majority of each half."""
        return is_quorum([[v.store_id for v in half] for half in self.halves], agreeing)

    def without(self, node_id: NodeId) -> "Configuration":
        """The committees without a node, to ask all others about it; the same if it is alone."""
        halves = [tuple(v for v in half if v.node_id != node_id) for half in self.halves]
        left = [half for half in halves if half]
        return Configuration(left[0], (), *left[1:]) if left else self

    @property
    def electors(self) -> tuple[Voter, ...]:
        """All that vote, each once: while joint the outgoing voters too."""
        return (*self.voters, *(v for v in self.outgoing if v not in self.voters))

    @property
    def everybody(self) -> tuple[Voter, ...]:
        """All participants, those that vote first."""
        return self.electors + self.learners

    @property
    def settled(self) -> tuple[Voter, ...]:
        """The voters that the committee's chain shows: the outgoing ones until they are left."""
        return self.outgoing or self.voters

    @property
    def flaw(self) -> str | None:
        """Why these can be no committee, whatever was before; None if they can."""
        everybody = self.everybody
        for name, found in (
            ("node", {v.node_id: v for v in everybody}),
            ("peer key", {v.peer_key: v for v in everybody}),
            ("store", {v.store_id: v for v in everybody}),
        ):
            if len(found) < len(everybody):
                return f"A {name} may be in the committee only once."
        # Changed one at a time, a full committee passes through one more than its largest size.
        if len(self.voters) > limits.VOTERS_MAX + 1 or len(self.learners) > limits.LEARNERS_MAX:
            bounds = f"{limits.VOTERS_MAX} voters and {limits.LEARNERS_MAX} learners"
            return f"A committee has at most {bounds}."
        for group in (self.voters, self.learners, self.outgoing):
            if list(group) != sorted(set(group)):
                return "Voters and learners must be sorted by node id."
        if not self.voters or self.outgoing == self.voters:
            return "A committee has at least one voter, and a joint one has two committees."
        return None


class EntryKind(IntEnum):
    """The kind of an entry. An unknown kind is kept, counted, and applied without effect."""

    NOOP = 0
    CONFIGURATION = 1
    REQUEST = 2
    PLACEMENT = 3
    REPORT = 4
    NODE = 5
    SETTING = 6
    REVOCATION = 7
    CERTIFY = 8
    CERTIFICATE = 9
    MEMBERSHIP = 10
    HOLD = 11
    ADOPTION = 12
    FEATURE_LEVEL = 13


@attrs.frozen
class Entry:
    """One entry of the log. `body` is the canonical CBOR of the kind's record (`log.entries`).

    `proposed_at_ms` is the leader's wall clock made monotonic: replicated state has no other time.
    """

    index: Index
    term: Term
    kind: int
    proposed_at_ms: int
    body: Annotated[bytes, bounded(bytes=limits.ENTRY_MAX_BYTES)]


Entries = Annotated[tuple[Entry, ...], bounded(items=limits.APPEND_BATCH_MAX_ENTRIES)]
"""Entries that travel together."""

SnapshotChunk = Annotated[bytes, bounded(bytes=limits.SNAPSHOT_CHUNK_BYTES)]
"""A part of an encoded snapshot."""


@attrs.frozen
class LogEnd:
    """The log that a node holds and its end, committed or not. `log_id` None: it holds none.

    `followed_epoch`: the epoch whose root record the node follows; its log may not have begun here.
    `refusal`: why the node does not found that epoch's log, although the record names it.
    `state_digest` is that of the state at `last_index`; None where the node's program is too old to
    read its log that far, or where peers drew many digests of a log that grows.
    """

    store_id: StoreId
    followed_epoch: int
    refusal: str = ""
    log_id: Digest | None = None
    epoch: int = 0
    base_index: Index = 0
    commit_index: Index = 0
    last_index: Index = 0
    last_term: Term = 0
    state_digest: StateDigest | None = None
    voters: Voters = ()
    outgoing: Voters = since(DISTRUST_LEVEL, default=())

    @property
    def configuration(self) -> Configuration:
        """The voters at the log's end: of both committees, if it ends between two."""
        return Configuration(self.voters, (), self.outgoing)


@attrs.frozen
class HardState:
    """A voter's durable promises: its term, and its vote (a store id) in that term."""

    term: Term = 0
    voted_for: StoreId | None = None


@attrs.frozen
class Snapshot:
    """The applied state up to and including an index, with the configuration in force there."""

    log_id: Digest
    index: Index
    term: Term
    last_proposed_at_ms: int
    configuration: Configuration
    state: Annotated[bytes, bounded(bytes=limits.SNAPSHOT_MAX_BYTES)]
