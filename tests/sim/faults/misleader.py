"""A leader that is one, and lies to those without a seat: about what is committed, and who says so.

Its agent leads on as an honest one does. Beside that it answers questions for the log with entries
and snapshots of its own making, before its agent does; announces a history and a state of its own;
and speaks as a leader to nodes that have no seat, so that they append what it likes, their own seat
among it. All under its real key, with the certificate that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from p2pool.codec.entries import encode_body, encode_snapshot
from p2pool.core.fsm.state import PoolState, history_after
from p2pool.core.fsm.storage.rows import encode_state
from p2pool.model import features
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import StateDigest, StoreId
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import LevelRaised, Setting
from p2pool.model.log.raft import Configuration, Entry, Snapshot, Voter
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered, StateRequested
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Message
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

LIE_MS = 400
EXPECTED = (
    "a peer's entries are not what is committed",
    "a leader's entries are refused",
    "this node's state is not the leader's",
)


def mislead(s: Story) -> None:
    """A leader lies to those without a seat for a while."""
    leaders = [m for m in s.world.machines if m.node and m.node.context.pool_log.leads]
    if leaders and not s.lied:
        s.lied = True
        Misleader(s, s.rng.choice(leaders)).begin(4_000 + s.rng.randrange(12_000))


@attrs.define
class Misleader:
    """One leader's lies. `told`: how many of each kind."""

    story: Story
    m: Machine
    until_ms: int = 0
    told: dict[str, int] = attrs.field(factory=dict)

    def begin(self, lasts_ms: int) -> None:
        """From now on, as long as it leads."""
        world = self.story.world
        world.expected = (*world.expected, *EXPECTED)
        self.until_ms = world.now_ms + lasts_ms
        world.on_send.append(self._answer)
        self._next()

    def lies(self) -> bool:
        """Whether it lies now: while it leads."""
        node = self.m.node
        leads = node is not None and node.context.pool_log.leads
        return leads and self.story.world.now_ms < self.until_ms

    def _next(self) -> None:
        if self.story.world.now_ms >= self.until_ms:
            return
        for other in self._unseated() if self.lies() else ():
            self.append(other)
        if self.lies():
            self.announce()
        self.story.world.later(LIE_MS, self._next)

    def _unseated(self) -> list[Machine]:
        assert self.m.node is not None
        group = self.m.node.context.pool_log.configuration.everybody
        seated = [v.node_id for v in group]
        running = [m for m in self.story.world.machines if m.node is not None]
        return [m for m in running if m.node_id not in seated]

    # --- what it says -----------------------------------------------------------------------------

    @property
    def me(self) -> Voter:
        return Voter(self.m.node_id, self.m.peer_key, self.m.store_id)

    def _say(self, to: Machine | None, message: Message) -> None:
        kind = type(message).__name__
        self.told[kind] = self.told.get(kind, 0) + 1
        if self.m.sealer is not None:
            channel, data = self.m.sealer.seal(message, self.story.world.now(self.m))
            self.story.world.carry(self.m, to, channel, data)

    def _forged(self, first: int, term: int, you: Voter | None = None) -> tuple[Entry, ...]:
        """Entries that are in nobody's log."""
        rng, wall_ms = self.story.rng, self.story.world.now(self.m).wall_ms
        level = FeatureLevel(features.newest() + 1)
        bodies = [encode_body(Setting("timing", rng.choice(("lan", "wan"))))]
        bodies += [encode_body(LevelRaised(level, "9.0.0"))] if rng.random() < 0.3 else []
        if you is not None and rng.random() < 0.5:
            bodies.insert(0, encode_body(Configuration((self.me,), (you,))))
        return tuple(
            Entry(first + n, term, kind, wall_ms, body) for n, (kind, body) in enumerate(bodies)
        )

    def _answer(self, m: Machine, to: Machine | None, message: Message) -> None:
        """To whoever asks it for the log: before its agent can."""
        if to is not self.m or not isinstance(message, StateRequested) or not self.lies():
            return
        assert self.m.node is not None
        pool_log = self.m.node.context.pool_log
        first = message.from_index + 1
        entries = self._forged(first, pool_log.term)
        whole = self._snapshot(first + 5) if self.story.rng.random() < 0.2 else b""
        said = StateAnswered(
            request=message.request,
            log_id=message.log_id,
            commit_index=max(pool_log.commit_index, entries[-1].index),
            entries=() if whole else entries,
            snapshot_total_bytes=len(whole),
            snapshot_offset=0,
            snapshot=whole,
        )
        self._say(m, said)

    def _snapshot(self, index: int) -> bytes:
        assert self.m.node is not None
        pool_log, wall_ms = self.m.node.context.pool_log, self.story.world.now(self.m).wall_ms
        assert pool_log.log_id is not None
        group = Configuration((self.me,))
        state = PoolState(
            pool_log.pool, pool_log.epoch, index, pool_log.term, chain=CommitteeChain(1, (self.me,))
        )
        made = Snapshot(pool_log.log_id, index, pool_log.term, wall_ms, group, encode_state(state))
        return encode_snapshot(made)

    def append(self, other: Machine) -> None:
        """You follow me, and this is committed."""
        assert self.m.node is not None
        assert other.node is not None
        pool_log, raft = self.m.node.context.pool_log, other.node.context.pool_log.raft
        if raft is None or raft.state.log_id != pool_log.log_id:
            return
        log, you = raft.state.log, Voter(other.node_id, other.peer_key, StoreId(other.store_id))
        entries = self._forged(log.last_index + 1, pool_log.term, you)
        frame = AppendRequested(
            log_id=raft.state.log_id,
            term=pool_log.term,
            leader=self.me,
            follower=you,
            previous_index=log.last_index,
            previous_term=log.last_term,
            commit_index=entries[-1].index,
            round=1,
            entries=entries,
        )
        self._say(other, frame)

    def announce(self) -> None:
        """What all of you hold is not what is committed; this is."""
        assert self.m.node is not None
        context = self.m.node.context
        pool_log, known = context.pool_log, context.leader_certificates.known
        state = pool_log.state
        if state is None or known is None or pool_log.log_id is None:
            return
        rng, history = self.story.rng, state.history
        entries = self._forged(state.applied_index + 1, pool_log.term)
        for entry in entries:
            history = history_after(history, entry)
        bait = rng.random() < 0.5
        said = Announcement(
            log_id=pool_log.log_id,
            epoch=pool_log.epoch,
            term=pool_log.term,
            commit_index=state.applied_index if bait else entries[-1].index,
            state_digest=StateDigest(b"\x01" + rng.randbytes(32)),
            certificate=known.signatures,
            history=history,
        )
        self._say(None, said)
