"""A member that lies: it holds real keys, and says whatever may do harm.

Its own agent runs on as an honest one does; beside that it votes for all who ask, forges frames of
a leader and answers of a later term, gives orders with a stolen certificate or none, tells that
healthy nodes are not heard, says in heartbeats that it leads and has all the room in the world,
sends again what it and others said before, and plain garbage.

What is promised against it (and checked, see `tests.sim.byzantine.test_byzantine_member`): a liar
that is no participant of the log changes nothing among the honest at all, and they come to rest
while it lies on. One that is a voter may stop or fork the log, which is crash-fault tolerant and no
more; what it signs for two candidates of a term is proof against it. Whoever fetches committed
entries is handed forged ones by it (`tests.sim.byzantine.test_forged_log` tells such lies one by
one).
"""

from collections.abc import Callable

import attrs

from p2pool.model.ids import Digest, StoreId, Token
from p2pool.model.log.raft import Entry, EntryKind, Voter
from p2pool.model.machine.hardware import FreeResources
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered, StateRequested, SuspicionReported
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.messages.registry import Channel, Message
from p2pool.model.messages.work import Order, Stop
from p2pool.model.states import RaftRole
from tests.sim.faults.scenario import Story
from tests.sim.world.machine import Machine

KEPT_MAX = 400


@attrs.define
class Liar:
    """One machine's lies. `told`: how many of each kind."""

    story: Story
    m: Machine
    heard: list[tuple[Channel, bytes]] = attrs.field(factory=list)
    certificate: tuple[bytes, ...] = ()
    told: dict[str, int] = attrs.field(factory=dict)

    def begin(self) -> None:
        """From now on it lies, until the end of the world."""
        world = self.story.world
        world.liars.add(self.m.number)
        world.on_send.append(self._overhear)
        world.on_bytes.append(self._keep)
        self._next()

    def _next(self) -> None:
        acts: list[Callable[[], None]] = [
            self.hint,
            self.order,
            self.append,
            self.depose,
            self.campaign,
            self.beat,
            self.lead,
            self.replay,
            self.garbage,
        ]
        act = self.story.rng.choice(acts)
        if self.m.node is not None and self.m.sealer is not None:
            self.told[act.__name__] = self.told.get(act.__name__, 0) + 1
            act()
        self.story.world.later(20 + self.story.rng.randrange(150), self._next)

    # --- what it needs ----------------------------------------------------------------------------

    @property
    def _me(self) -> Voter:
        return Voter(self.m.node_id, self.m.peer_key, self.m.store_id)

    def _others(self) -> list[Machine]:
        return [o for o in self.story.world.machines if o is not self.m and o.node is not None]

    def _say(self, to: Machine | None, message: Message) -> None:
        if self.m.sealer is not None:
            channel, data = self.m.sealer.seal(message, self.story.world.now(self.m))
            self.story.world.carry(self.m, to, channel, data)

    def _overhear(self, m: Machine, to: Machine | None, message: Message) -> None:
        """Who asks it for a vote gets it; a leader's certificate is kept for orders of its own."""
        if to is self.m and isinstance(message, VoteRequested):
            self.told["vote"] = self.told.get("vote", 0) + 1
            answer = VoteAnswered(
                message.log_id,
                message.term,
                message.candidate,
                self._me,
                message.last_index,
                message.last_term,
                message.configuration_hash,
                message.pre,
                True,
                "",
            )
            self._say(m, answer)
        elif to is self.m and isinstance(message, StateRequested):
            self.told["state"] = self.told.get("state", 0) + 1
            forged = Entry(message.from_index + 1, 1, EntryKind.NOOP, 0, b"")
            self._say(
                m, StateAnswered(message.request, message.log_id, 10**6, (forged,), 0, 0, b"")
            )
        elif to is self.m and isinstance(message, Order) and message.certificate:
            self.certificate = message.certificate

    def _keep(self, m: Machine, to: Machine | None, channel: Channel, data: bytes) -> None:
        if (m is self.m or to is self.m or to is None) and len(self.heard) < KEPT_MAX:
            self.heard.append((channel, data))

    # --- lies -------------------------------------------------------------------------------------

    def hint(self) -> None:
        """A healthy node is not heard, it tells everybody."""
        victim = self.story.rng.choice(self._others())
        for other in self._others():
            self._say(other, SuspicionReported(victim.node_id, "its connection was lost"))

    def order(self) -> None:
        """Stop all that you run: by the newest token there could be."""
        assert self.m.node is not None
        pool_log = self.m.node.context.pool_log
        for other in self._others():
            stops = tuple(Stop(a, n) for a, n in sorted(other.engine.containers))
            for term in (pool_log.term, pool_log.term + 1):
                token = Token(pool_log.epoch, term, 10**6)
                self._say(other, Order(other.node_id, token, (), stops, self.certificate))

    def append(self) -> None:
        """It leads a later term, and here is what the log says now."""
        for other, log_id, term in self._of_the_log():
            entry = Entry(1, term + 1, EntryKind.NOOP, 0, b"")
            frame = AppendRequested(
                log_id, term + 1, self._me, self._voter(other), 0, 0, 1, 1, (entry,)
            )
            self._say(other, frame)
            self._say(other, TimeoutNow(log_id, term, self._me, self._voter(other)))

    def depose(self) -> None:
        """An answer of a far later term, to whoever leads."""
        for other, log_id, term in self._of_the_log():
            answer = AppendAnswered(
                log_id, term + 9, self._voter(other), self._me, 1, True, 10**6, 0, 0
            )
            self._say(other, answer)

    def campaign(self) -> None:
        """Vote for me, the leader told me to ask."""
        for other, log_id, term in self._of_the_log():
            asked = VoteRequested(
                log_id,
                term + 9,
                self._me,
                self._voter(other),
                10**6,
                term + 9,
                Digest(bytes(32)),
                False,
                True,
            )
            self._say(other, asked)

    def beat(self) -> None:
        """It leads, has no task and more room than anybody."""
        assert self.m.node is not None
        mine = self.m.node.context.heartbeats.newest.get(self.m.node_id)
        if mine is not None:
            room = FreeResources(10**6, 2**49, 2**49, 64)
            lie = attrs.evolve(
                mine.heartbeat,
                free=room,
                allocations=(),
                leader=self.m.node_id,
                hardware=None,
                role=RaftRole.LEADER,
                term=mine.heartbeat.term + 1,
            )
            self._say(None, lie)

    def lead(self) -> None:
        """An announcement of a leader that nobody elected, with what certificate it has."""
        assert self.m.node is not None
        pool_log = self.m.node.context.pool_log
        if pool_log.log_id is not None:
            digest = Digest(self.story.rng.randbytes(32))
            said = Announcement(
                pool_log.log_id, pool_log.epoch, pool_log.term + 1, 10**6, digest, self.certificate
            )
            self._say(None, said)

    def replay(self) -> None:
        """What was said once, by itself or by others, once more to somebody."""
        if self.heard:
            channel, data = self.story.rng.choice(self.heard)
            for other in self._others():
                self.story.world.network.send(self.m, other, channel, data)

    def garbage(self) -> None:
        """Any bytes at all, and good ones with a bit turned."""
        rng = self.story.rng
        channel, data = Channel.RAFT, rng.randbytes(rng.randrange(1, 300))
        if self.heard and rng.random() < 0.5:
            channel, good = rng.choice(self.heard)
            turned = bytearray(good)
            turned[rng.randrange(len(turned))] ^= 1 << rng.randrange(8)
            data = bytes(turned)
        for other in self._others():
            self.story.world.network.send(self.m, other, channel, data)

    def _of_the_log(self) -> list[tuple[Machine, Digest, int]]:
        found = []
        for other in self._others():
            raft = other.node.context.pool_log.raft if other.node is not None else None
            if raft is not None:
                found.append((other, raft.state.log_id, raft.state.hard.term))
        return found

    @staticmethod
    def _voter(m: Machine) -> Voter:
        return Voter(m.node_id, m.peer_key, StoreId(m.store_id))
