"""One member that lies about the log to a node that is no voter: it is believed in nothing.

The victim asks for what it misses, and the liar answers first; or the liar speaks as a leader does.
Neither a task nor a committee that no quorum has certified comes of it, and the victim follows on.
"""

from collections.abc import Callable

import attrs
import pytest

from p2pool.codec.digests import committee_hash
from p2pool.codec.entries import encode_body, encode_snapshot
from p2pool.core.fsm.state import NO_HISTORY, PoolState, history_after
from p2pool.core.voter.signatures import VoterSignatures
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.certificates import CommitteeChain, Link
from p2pool.model.log.entries import RequestApplied
from p2pool.model.log.raft import Configuration, Entry, Snapshot, Voter
from p2pool.model.messages.certificates import (
    CertificatesAnswered,
    CertificateSigned,
    CertificatesRequested,
)
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered, StateRequested
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from p2pool.model.messages.registry import Message
from tests.sim.harness.pool import Pool, brief, formed
from tests.sim.invariants.checks import Checks
from tests.sim.world.disk import Disk
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER_ADDRESS, POOL, WALL_MS, World

AHEAD = 10**6
TERM = 99


@attrs.define
class Lies:
    """A liar, whom it lies to, and the log that it would have it hold."""

    pool: Pool
    liar: Machine
    victim: Machine
    answers: int = 0

    @property
    def me(self) -> Voter:
        return Voter(self.liar.node_id, self.liar.peer_key, self.liar.store_id)

    @property
    def you(self) -> Voter:
        return Voter(self.victim.node_id, self.victim.peer_key, StoreId(self.victim.store_id))

    @property
    def log_id(self) -> Digest:
        found = self.pool.node(self.liar.number).context.pool_log.log_id
        assert found is not None
        return found

    def say(self, message: Message | None) -> None:
        if message is not None:
            self.pool.world.said(self.liar, self.victim, message)

    def forged(self, first: int, term: int) -> tuple[Entry, ...]:
        """A committee of the liar alone, and a task that nobody signed."""
        wall_s = WALL_MS // 1000
        made = TaskRequest(
            Action.SUBMIT,
            POOL.pool_id,
            "",
            '{"image":"i","name":"evil"}',
            b"e" * 32,
            wall_s,
            wall_s + 3600,
        )
        signed = SignedRequest(made, b"s" * 65)
        records = (
            Configuration((self.me,)),
            RequestApplied(signed, self.liar.node_id, MANAGER_ADDRESS, None),
        )
        bodies = (encode_body(record) for record in records)
        return tuple(
            Entry(first + n, term, kind, WALL_MS, body) for n, (kind, body) in enumerate(bodies)
        )

    def answer(self, m: Machine, to: Machine | None, message: Message) -> None:
        """To whatever the victim asks it for."""
        if m is not self.victim or to is not self.liar:
            return
        self.answers += isinstance(message, (StateRequested, SnapshotRequested))
        if isinstance(message, StateRequested):
            entries = self.forged(message.from_index + 1, 1)
            self.say(StateAnswered(message.request, self.log_id, AHEAD, entries, 0, 0, b""))

    def snapshot(self, index: int, term: int) -> bytes:
        """A state of the liar's own making."""
        state = PoolState(POOL, 1, index, term, chain=CommitteeChain(1, (self.me,)))
        group = Configuration((self.me,))
        return encode_snapshot(Snapshot(self.log_id, index, term, WALL_MS, group, state.to_bytes()))

    def answer_whole(self, m: Machine, to: Machine | None, message: Message) -> None:
        """With a snapshot."""
        if m is not self.victim or to is not self.liar:
            return
        self.answers += isinstance(message, (StateRequested, SnapshotRequested))
        if isinstance(message, StateRequested):
            data = self.snapshot(AHEAD, 1)
            told = StateAnswered(message.request, self.log_id, AHEAD, (), len(data), 0, data)
            self.say(told)

    def append(self, term: int) -> None:
        """It leads, and here is the log."""
        entries = self.forged(1, term)
        self.say(AppendRequested(self.log_id, term, self.me, self.you, 0, 0, 2, 1, entries))

    def send(self, term: int) -> None:
        """It leads, and here is the state."""
        data = self.snapshot(AHEAD, term)
        self.say(
            SnapshotSent(self.log_id, term, self.me, self.you, AHEAD, term, 0, len(data), data)
        )

    def prove(self, m: Machine, to: Machine | None, message: Message) -> None:
        """A chain that leads to itself by a change that nobody signed."""
        if m is not self.victim or to is not self.liar:
            return
        if isinstance(message, CertificatesRequested):
            root = self.pool.world.root
            assert root is not None
            founder = Voter(root.founder, root.peer_key, root.store_id)
            chain = CommitteeChain(1, (founder,), (Link(2, 1, WALL_MS, (self.me,), (), True),))
            own = (self.certificate(),)
            self.say(CertificatesAnswered(message.request, self.log_id, chain, own, ()))

    def certificate(self) -> bytes:
        """A committee of the liar alone confirms that it leads."""
        assert self.liar.sealer is not None
        now, group = self.pool.world.now(self.liar), committee_hash((self.me,))
        word = CertificateSigned(
            self.log_id, TERM, self.me, self.me, group, 2, Digest(b"x" * 32), now.wall_ms
        )
        return self.liar.sealer.sealed(word, now).sealed

    def announce(self) -> None:
        """It leads, and this is the history of its log."""
        history = NO_HISTORY
        for entry in self.forged(1, 1):
            history = history_after(history, entry)
        own, digest = (self.certificate(),), Digest(b"x" * 32)
        said = Announcement(self.log_id, 1, TERM, 2, digest, own, (), history)
        self.pool.world.said(self.liar, None, said)


def unmoved(lies: Lies) -> None:
    """The victim holds nothing of the liar's."""
    pool_log = lies.pool.node(lies.victim.number).context.pool_log
    state = pool_log.state
    if state is not None:
        assert all(t.spec.name != "evil" for t in state.tasks.values())
        assert lies.me not in state.chain.voters
    assert lies.me not in pool_log.configuration.voters
    assert pool_log.commit_index < AHEAD


def follows(lies: Lies) -> bool:
    """Whether the victim has what the leader has."""
    leader = lies.pool.node(lies.pool.leader().number).context.pool_log
    victim = lies.pool.node(lies.victim.number).context.pool_log
    assert leader.state is not None
    if victim.state is None:
        return False
    same = victim.state.applied_index == leader.state.applied_index
    return same and victim.state.digest() == leader.state.digest()


def idle(pool: Pool) -> list[Machine]:
    """Members that are no participants of the log."""
    return [m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches]


@pytest.fixture
def lies() -> Lies:
    pool = formed(5)
    liar, victim = idle(pool)[:2]
    pool.world.liars.add(liar.number)
    return Lies(pool, liar, victim)


@pytest.mark.parametrize("how", [Lies.answer, Lies.answer_whole])
def test_what_a_member_hands_over_is_not_what_is_committed(
    lies: Lies, how: Callable[[Lies, Machine, Machine | None, Message], None]
) -> None:
    """It is asked like any other, and believed in nothing; then it is left alone for a while."""
    pool = lies.pool
    pool.world.on_send.append(lambda m, to, said: how(lies, m, to, said))
    pool.world.on_step.append(lambda m: unmoved(lies))
    for _ in range(25):
        pool.submit(pool.leader().number, brief())
        pool.world.run(2_000)
    assert 1 <= lies.answers <= (2 if how is Lies.answer else 25)
    pool.until(lambda: follows(lies), 15_000)


@pytest.mark.parametrize("led", [True, False])
@pytest.mark.parametrize("how", [Lies.append, Lies.send])
def test_who_speaks_as_a_leader_is_none(
    lies: Lies, how: Callable[[Lies, int], None], led: bool
) -> None:
    """Whether the leader lives or not: a certificate says who leads."""
    pool = lies.pool
    term = pool.node(pool.leader().number).context.pool_log.term
    pool.world.on_step.append(lambda m: unmoved(lies))
    if not led:
        pool.world.crash(pool.leader().number)
    for n in range(40):
        how(lies, term + n)
        lies.announce()
        pool.world.run(100)
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in pool.world.machines))
    pool.until(lambda: follows(lies), 20_000)


def test_a_newcomer_believes_no_chain_that_nobody_signed() -> None:
    """It knows the founder alone, and meets the liar first; then the others, who lead it from the
    founder to today's committee by signed changes."""
    world = World(7, 5)
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(4):
        world.start(number)
    world.run(12_000)
    victim = world.machines[4]
    liar = next(m for m in idle(pool))
    world.liars.add(liar.number)
    lies = Lies(pool, liar, victim)
    for act in (lies.prove, lies.answer):
        world.on_send.append(act)
    world.cut = {(4, m.number) for m in world.machines if m not in (liar, victim)}
    world.start(4)
    for _ in range(30):
        lies.announce()
        lies.append(TERM)
        world.run(200)
        unmoved(lies)
    assert pool.node(4).context.pool_log.commit_index == 0
    world.cut = set()
    world.on_step.append(lambda m: unmoved(lies))
    pool.until(lambda: follows(lies), 30_000)


@pytest.mark.parametrize("lied", [False, True])
def test_a_newcomer_gets_past_a_change_that_nobody_could_sign(lied: bool) -> None:
    """The word of the leader that most members follow leads over the gap; a liar's chain, which has
    the same gap, does not."""
    world = World(7, 5)
    pool = Pool(7, world, Checks(world), world.rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VoterSignatures, "_sign_link", lambda self, link, now: None)
        for number in range(4):
            world.start(number)
        world.run(2 * limits.VOTER_REPLACE_AFTER_MS)
        chain = pool.node(pool.leader().number).context.pool_log.chain
        assert any(link.given_up for link in chain.links)
        liar, victim = idle(pool)[0], world.machines[4]
        lies = Lies(pool, liar, victim)
        if lied:
            world.liars.add(liar.number)
            world.on_send += [lies.prove, lies.answer]
            for n in range(20):
                world.later(500 * n, lies.announce)
        world.start(4)
        world.on_step.append(lambda m: unmoved(lies))
        pool.until(lambda: follows(lies), 30_000)


def test_a_disk_that_is_empty_follows_again(lies: Lies) -> None:
    """A node that lost all it had comes to the committee of today, liar or not."""
    pool = lies.pool
    pool.world.on_send.append(lies.answer)
    pool.world.crash(lies.victim.number)
    lies.victim.disk = Disk(StoreId(b"\xee" * 16))
    pool.world.start(lies.victim.number)
    pool.world.on_step.append(lambda m: unmoved(lies))
    pool.until(lambda: follows(lies), 30_000)
    assert limits.DISTRUSTED_MS > 30_000
