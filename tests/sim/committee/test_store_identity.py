"""A voter is its disk: one that was set back, wiped or copied never votes as the old one."""

import copy

import attrs
import pytest

from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.messages.raft import AppendAnswered, VoteAnswered
from p2pool.model.messages.registry import Channel, Header, Message, Verified
from p2pool.model.states import RaftRole
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.harness.lost_majority import Recovering
from tests.sim.harness.pool import ENDLESS
from tests.sim.world.disk import Disk
from tests.sim.world.machine import Machine
from tests.sim.world.world import World


@attrs.define
class Promises:
    """What a machine promised under a store, as anybody could hear it, since it was cleared."""

    world: World
    heard: list[tuple[StoreId, Message]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.world.on_send.append(self._look)

    def _look(self, m: Machine, to: Machine | None, message: Message) -> None:
        if isinstance(message, VoteAnswered) and message.granted and not message.pre:
            self.heard.append((message.voter.store_id, message))
        elif isinstance(message, AppendAnswered) and message.ok:
            self.heard.append((message.follower.store_id, message))

    def under(self, store_id: StoreId) -> list[Message]:
        return [message for store, message in self.heard if store == store_id]


@pytest.fixture
def pool() -> Recovering:
    """Three nodes, all of them voters."""
    return Recovering.formed(size=3)


def follower(pool: Recovering) -> Machine:
    return next(m for m in pool.world.machines if m.node and m is not pool.leader())


def voter_again(pool: Recovering, m: Machine) -> bool:
    """Whether the leader gave the machine's present store a seat."""
    leaders = [n.node for n in pool.world.machines if n.node and n.node.context.pool_log.leads]
    now = Voter(m.node_id, m.peer_key, m.store_id)
    return bool(leaders) and now in leaders[0].context.pool_log.configuration.voters


def set_back(pool: Recovering, m: Machine, disk: Disk) -> None:
    """The machine is started from a backup of its disk."""
    if m.node is not None:
        pool.world.crash(m.number)
    m.disk = disk
    pool.world.start(m.number)


@pytest.mark.parametrize("peers_restart", [False, True])
def test_a_disk_set_back_is_noticed_by_what_it_acknowledged(
    pool: Recovering, peers_restart: bool
) -> None:
    """It takes a new store, says why, promises nothing as the old one, and gets a seat again; also
    where its peers were restarted since, for they write down what they heard."""
    m = follower(pool)
    backup = copy.deepcopy(m.disk)
    for _ in range(3):
        assert pool.accepts(pool.leader().number)
    pool.world.run(15_000)
    pool.world.crash(m.number)
    if peers_restart:
        for other in pool.world.machines:
            if other is not m:
                pool.world.crash(other.number)
                pool.world.start(other.number)
        pool.world.run(10_000)
    promises = Promises(pool.world)
    set_back(pool, m, backup)
    old = m.store_id
    pool.until(lambda: m.store_id != old, 20_000)
    assert "older copy of itself" in pool.problems(m.number)
    pool.until(lambda: voter_again(pool, m), 120_000)
    assert promises.under(old) == []
    assert promises.under(m.store_id)
    assert "older copy" not in pool.problems(m.number)
    assert pool.accepts(m.number)


def test_a_disk_set_back_behind_a_vote_is_noticed(pool: Recovering) -> None:
    """No entry tells it, only the vote that it gave since."""
    m = follower(pool)
    backup = copy.deepcopy(m.disk)
    first = pool.leader()
    third = next(n for n in pool.world.machines if n not in (m, first))
    pool.world.crash(first.number)
    pool.until(
        lambda: (
            (third.node is not None and third.node.context.pool_log.leads)
            or (m.node is not None and m.node.context.pool_log.leads)
        )
    )
    pool.world.start(first.number)
    promises = Promises(pool.world)
    set_back(pool, m, backup)
    old = m.store_id
    pool.until(lambda: m.store_id != old, 20_000)
    assert promises.under(old) == []


def test_a_disk_that_forgot_nothing_votes_on(pool: Recovering) -> None:
    """A backup of a pool that stood still since, and a plain restart: the same store, soon."""
    m = follower(pool)
    pool.world.run(500)
    for disk in (None, copy.deepcopy(m.disk)):
        if disk is not None and disk.hard == m.disk.hard and disk.entries == m.disk.entries:
            set_back(pool, m, disk)
        else:
            pool.world.crash(m.number)
            pool.world.start(m.number)
        assert m.node is not None
        store, began_ms = m.store_id, pool.world.now_ms
        pool.until(
            lambda: (
                m.node is not None
                and m.node.context.pool_log.role is RaftRole.FOLLOWER
                and not m.node.context.pool_log.doubted
            )
        )
        assert m.store_id == store
        assert pool.world.now_ms - began_ms < 5_000


def test_one_peer_that_remembers_is_enough(pool: Recovering) -> None:
    """The other voter is down: with the one that answers there is a quorum, and it knows."""
    m = follower(pool)
    backup = copy.deepcopy(m.disk)
    assert pool.accepts(pool.leader().number)
    pool.world.run(2_000)
    other = next(n for n in pool.world.machines if n not in (m, pool.leader()))
    pool.world.crash(other.number)
    promises = Promises(pool.world)
    set_back(pool, m, backup)
    old = m.store_id
    pool.until(lambda: m.store_id != old, 20_000)
    assert promises.under(old) == []


def test_who_reaches_nobody_promises_nothing(pool: Recovering) -> None:
    """Without a peer to ask, a voter of three neither votes nor campaigns, however long."""
    m = follower(pool)
    pool.world.cut = {(m.number, n) for n in range(3) if n != m.number}
    pool.world.crash(m.number)
    pool.world.start(m.number)
    pool.world.run(60_000)
    assert m.node is not None
    pool_log = m.node.context.pool_log
    assert (pool_log.doubted, pool_log.role) == (True, RaftRole.FOLLOWER)
    pool.world.cut = set()
    pool.until(lambda: not pool_log.doubted)


def test_a_single_voter_comes_back_alone() -> None:
    """There is nobody whose quorum it could wait for."""
    pool = Recovering(3, World(3, 1), None, None)  # type: ignore[arg-type]
    pool.world.start(0)
    pool.world.run(5_000)
    assert pool.node(0).context.pool_log.leads
    pool.world.crash(0)
    pool.world.start(0)
    pool.until(lambda: pool.node(0).context.pool_log.leads, 15_000)


def test_a_wiped_founder_founds_nothing_and_says_what_to_do() -> None:
    """The record names the store that is gone; the manager names another, and it goes on."""
    pool = Recovering(5, World(5, 3), None, None)  # type: ignore[arg-type]
    for number in range(3):
        pool.world.start(number)
    pool.world.crash(0)
    founder = pool.world.machines[0]
    founder.disk = Disk(StoreId(b"\xee" * 16))
    pool.world.start(0)
    pool.world.run(10_000)
    assert not any(pool.node(n).context.pool_log.leads for n in range(3))
    assert "another data directory" in pool.problems(0)
    assert "pool recover" in pool.problems(0)
    assert founder.node_id.hex() in pool.problems(1)
    other = pool.world.machines[1]
    pool.world.root = RootRecord(2, other.node_id, other.peer_key, other.store_id)
    pool.until(lambda: pool.led_in(2))


def test_a_wiped_voter_is_another_one(pool: Recovering) -> None:
    """Its new store has no vote until the leader gives it a seat, and the old one has none."""
    m = follower(pool)
    old = m.store_id
    pool.world.crash(m.number)
    m.disk = Disk(StoreId(b"\xee" * 16))
    promises = Promises(pool.world)
    pool.world.start(m.number)
    pool.until(lambda: voter_again(pool, m), 120_000)
    assert promises.under(old) == []


def test_a_leader_whose_disk_fails_hands_on_at_once(pool: Recovering) -> None:
    """It is silent but for that; the next leads before a timeout; a restart mends it."""
    pool.world.run(5_000)
    m = pool.leader()
    m.refuses = True
    pool.submit(m.number, TaskSpec(name="t", image="i", command=ENDLESS))
    pool.until(lambda: m.node is not None and m.node.context.store_failure is not None)
    began_ms = pool.world.now_ms
    assert m.node is not None
    assert m.node.context.pool_log.role is not RaftRole.LEADER
    others = [n for n in pool.world.machines if n is not m]
    pool.until(lambda: any(n.node and n.node.context.pool_log.leads for n in others))
    assert pool.world.now_ms - began_ms <= 500
    promises = Promises(pool.world)
    pool.world.run(5_000)
    assert promises.under(m.store_id) == []
    store = m.store_id
    pool.world.crash(m.number)
    pool.world.start(m.number)
    pool.until(lambda: m.node is not None and m.node.context.pool_log.role is RaftRole.FOLLOWER)
    assert m.store_id == store
    assert pool.accepts(m.number)


# --- two agents of one identity -----------------------------------------------------------------


def own_word(m: Machine, incarnation: int, sent_at_ms: int) -> inputs.Received:
    """A heartbeat that some agent with a machine's keys sealed."""
    assert m.node is not None
    pool_log = m.node.context.pool_log
    said = m.node.context.heartbeats.newest[m.node_id].heartbeat
    said = attrs.evolve(said, store_id=m.store_id, epoch=pool_log.epoch)
    assert isinstance(said, Heartbeat)
    header = Header(m.node_id, m.peer_key, incarnation, 9, sent_at_ms)
    return inputs.Received(Verified(header, Channel.BEAT, said, b""), None)


def test_who_is_shown_a_later_message_of_its_own_stops(pool: Recovering) -> None:
    """Another agent runs with its keys: it says so, and nothing else, to anybody."""
    m = follower(pool)
    assert m.node is not None
    config = m.node.context.config
    later = own_word(m, config.incarnation + 1, pool.world.now(m).wall_ms)
    said: list[Message] = []
    pool.world.expected = ("another agent runs with this one's keys, and started later",)
    pool.world.give(m, later)
    pool.world.run(100)
    pool.world.on_send.append(lambda one, to, message: said.append(message) if one is m else None)
    pool.world.run(20_000)
    assert said == []
    assert "keys" in pool.problems(m.number)
    assert pool.leader() is not m


def test_the_later_of_two_gives_the_shared_store_up(pool: Recovering) -> None:
    """The earlier one still speaks while it runs, so neither may vote as that store."""
    m = follower(pool)
    assert m.node is not None
    old, incarnation = m.store_id, m.node.context.config.incarnation
    for _ in range(limits.CLONE_WORDS - 1):
        pool.world.give(m, own_word(m, incarnation - 1, pool.world.now(m).wall_ms))
        pool.world.run(2 * limits.CLONE_MARGIN_MS)
        assert m.store_id == old
    pool.world.give(m, own_word(m, incarnation - 1, pool.world.now(m).wall_ms))
    pool.until(lambda: m.store_id != old, 5_000)
    assert "it was copied" in pool.problems(m.number)


def test_words_from_before_a_clock_was_set_back_are_no_other_agent(pool: Recovering) -> None:
    """They are dated after our start, and some are newer than others; but none of them is new."""
    m = follower(pool)
    assert m.node is not None
    old, incarnation = m.store_id, m.node.context.config.incarnation
    ahead_ms = pool.world.now(m).wall_ms + 60_000
    for number in range(3 * limits.CLONE_WORDS):
        for word_ms in (ahead_ms, ahead_ms + 500 * number, ahead_ms - 10_000):
            pool.world.give(m, own_word(m, incarnation - 1, word_ms))
        pool.world.run(2 * limits.CLONE_MARGIN_MS)
    assert m.store_id == old


def test_an_earlier_message_of_its_own_is_no_matter(pool: Recovering) -> None:
    """Peers hand on what they heard before the last start."""
    m = follower(pool)
    assert m.node is not None
    incarnation, started = m.node.context.config.incarnation, pool.world.now(m).wall_ms - 60_000
    old = m.store_id
    pool.world.give(m, own_word(m, incarnation - 1, started))
    pool.world.run(5_000)
    assert m.store_id == old


def test_who_is_superseded_says_at_last_that_no_work_is_to_come(pool: Recovering) -> None:
    """Once: who has heard the other one takes it for a sign that two run."""
    m = follower(pool)
    assert m.node is not None
    said: list[Message] = []
    pool.world.expected = ("another agent runs with this one's keys, and started later",)
    pool.world.on_send.append(lambda one, to, message: said.append(message) if one is m else None)
    pool.world.run(10)
    said.clear()
    later = m.node.context.config.incarnation + 1
    pool.world.give(m, own_word(m, later, pool.world.now(m).wall_ms))
    pool.world.run(20_000)
    (last,) = said
    assert isinstance(last, Heartbeat)
    assert (last.healthy, "keys" in last.reason) == (False, True)
    assert pool.world.run_until(lambda: heard_unfit(pool, m), 1_000)


def heard_unfit(pool: Recovering, m: Machine) -> bool:
    """Whether the leader has heard that a node takes no work."""
    beats = pool.node(pool.leader().number).context.heartbeats
    return not beats.newest[m.node_id].heartbeat.healthy


def placed_on(pool: Recovering, m: Machine) -> int:
    """How many copies of as many tasks as there are nodes come to a node."""
    name = pool.run_task(pool.leader().number, replicas=5, reconnect_window_s=3600)
    state = pool.node(pool.leader().number).context.pool_log.state
    assert state is not None
    return sum(copy.node_id == m.node_id for copy in state.of_task(name))


@pytest.mark.parametrize("heard_by_leader", [True, False])
def test_nothing_new_is_placed_where_two_agents_run(
    pool: Recovering, heard_by_leader: bool
) -> None:
    """An order may reach the one that obeys nobody. The leader hears it itself, or the later of the
    two is shown a word that the earlier one said since, and tells. Soon after, it is well again."""
    m, leader = follower(pool), pool.leader()
    assert m.node is not None
    assert placed_on(pool, m) == 1
    incarnation, at_ms = m.node.context.config.incarnation, pool.world.now(m).wall_ms
    if heard_by_leader:
        event = inputs.OutdatedHeard(m.node_id, m.peer_key, sent_at_ms=at_ms, later=incarnation)
        pool.world.give(leader, event)
    else:
        pool.world.give(m, own_word(m, incarnation - 1, at_ms))
        assert pool.world.run_until(lambda: heard_unfit(pool, m), 3_000)
        assert "this one's keys" in pool.problems(m.number)
    pool.world.run(1_000)
    assert placed_on(pool, m) == 0
    pool.world.run(limits.DOUBLED_MS + 10_000)
    assert placed_on(pool, m) == 1


def test_a_word_from_before_the_last_start_speaks_against_nobody(pool: Recovering) -> None:
    """Gossip of an earlier life comes late after each restart."""
    m, leader = follower(pool), pool.leader()
    assert m.node is not None
    incarnation = m.node.context.config.incarnation
    event = inputs.OutdatedHeard(
        m.node_id, m.peer_key, sent_at_ms=incarnation - 1_000, later=incarnation
    )
    pool.world.give(leader, event)
    pool.world.run(1_000)
    assert placed_on(pool, m) == 1
