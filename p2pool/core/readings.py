"""What a node's log says of itself, for all that only read it; and leaders' questions in it.

The fields are those of `core.ledger.Ledger`, which alone changes them.
"""

import attrs

from p2pool.codec.entries import decode_body
from p2pool.core.fsm.state import PoolState
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.core.raft.raft import Raft
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest, NodeId
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import Certify
from p2pool.model.log.raft import Configuration, Entry, Voter
from p2pool.model.states import RaftRole

EMPTY = Configuration(())


@attrs.frozen
class CertificationPoint:
    """A leader's question that was applied here: the state where its voters confirm it."""

    index: int
    term: int
    asked: Certify
    voters: tuple[Voter, ...]
    state_digest: Digest


def point_of(entry: Entry, state: PoolState, chain: CommitteeChain) -> list[CertificationPoint]:
    """The point that a `Certify` entry marks, taken before the state goes on; none where its body
    cannot be read."""
    try:
        asked = decode_body(entry.kind, entry.body)
    except Malformed:
        return []
    assert isinstance(asked, Certify)
    return [CertificationPoint(entry.index, entry.term, asked, chain.voters, state.digest())]


class Readings:
    """Reading a log. Nothing here changes anything."""

    __slots__ = ()

    root: RootRecord | None
    raft: Raft | None
    state: PoolState | None
    former: StoredLog | None

    @property
    def held_log(self) -> StoredLog | None:
        """The log that the disk holds: the former one until the new one has begun."""
        if self.former is not None:
            return self.former
        if self.raft is None or self.root is None or self.raft.state.log.last_index == 0:
            return None
        assert self.state is not None
        return StoredLog(self.root, self.raft, self.state)

    @property
    def commit_index(self) -> int:
        """How far the log is known to be committed."""
        return self.raft.state.commit_index if self.raft is not None else 0

    @property
    def last_index(self) -> int:
        """Index of the last entry held, committed or not."""
        return self.raft.state.log.last_index if self.raft is not None else 0

    @property
    def applied_index(self) -> int:
        """How far it is applied."""
        return self.state.applied_index if self.state is not None else 0

    @property
    def term(self) -> int:
        """The term that this node is in."""
        # Of a log that has not begun here no term is kept, so none is told.
        return self.raft.state.hard.term if self.raft is not None and self.former is None else 0

    @property
    def epoch(self) -> int:
        """The epoch of the log, 0 without one."""
        return self.root.epoch if self.root is not None else 0

    @property
    def role(self) -> RaftRole:
        """Role in the log."""
        return self.raft.state.role if self.raft is not None else RaftRole.IDLE

    @property
    def leads(self) -> bool:
        """Whether this node leads and has applied an entry of its own term."""
        raft = self.raft
        if raft is None or raft.state.role is not RaftRole.LEADER or self.state is None:
            return False
        return self.state.applied_term == raft.state.hard.term

    @property
    def leader(self) -> NodeId | None:
        """The leader as Raft knows it; None for one that is no participant."""
        if self.raft is None or self.raft.state.leader is None:
            return None
        return self.raft.state.leader.node_id

    @property
    def chain(self) -> CommitteeChain:
        """The voters and their certificates as applied; before anything came, the founder."""
        state = self.state if self.former is None else None
        if state is not None and state.chain.epoch == self.epoch != 0:
            return state.chain
        root = self.root
        if root is None:
            return CommitteeChain()
        return CommitteeChain(root.epoch, (Voter(root.founder, root.peer_key, root.store_id),))

    @property
    def log_id(self) -> Digest | None:
        """The log's name, None without one."""
        return self.raft.state.log_id if self.raft is not None else None

    @property
    def configuration(self) -> Configuration:
        """The committee in force."""
        return self.raft.state.configuration if self.raft is not None else EMPTY
