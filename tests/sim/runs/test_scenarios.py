"""Named scenarios on three whole nodes: what must happen, and what once went wrong."""

import attrs
import pytest
from eth_account import Account

from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.model.access.requests import Action, Signers
from p2pool.model.errors import Conflict, NotAllowed, NotFound, P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.ports.agent import Accepted, ReadIndexCommand, SubmitCommand
from p2pool.model.states import AllocationState, Intent, Membership, RaftRole
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.pool import ENDLESS, FORMED_MS, Pool, brief, formed
from tests.sim.invariants.checks import Checks
from tests.sim.world.world import POOL, World


@pytest.fixture
def pool() -> Pool:
    """A pool of three that has formed."""
    return formed()


def test_a_master_dies_and_nothing_is_touched(pool: Pool) -> None:
    """Another leads in a later term; what ran runs on, under the same attempts."""
    pool.run_task(0, replicas=3)
    before = [dict(m.engine.containers) for m in pool.world.machines]
    dead, term = pool.leader(), pool.node(0).context.pool_log.term
    pool.world.crash(dead.number)
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in pool.world.machines))
    assert pool.leader().node.context.pool_log.term > term  # type: ignore[union-attr]
    pool.world.run(3_000)
    assert [dict(m.engine.containers) for m in pool.world.machines] == before


def test_a_leader_that_is_cut_off_acknowledges_nothing(pool: Pool) -> None:
    """It says that there is no leader, in time; the others go on."""
    old = pool.leader()
    pool.world.cut = {(old.number, n) for n in range(3) if n != old.number}
    request = pool.submit(old.number, TaskSpec(name="t", image="i", command=ENDLESS))
    assert isinstance(pool.reply(request), P2poolError)
    assert old.node is not None
    assert not old.node.context.pool_log.leads
    rest = [m.number for m in pool.world.machines if m is not old]
    assert isinstance(pool.reply(pool.submit(rest[0], brief())), Accepted)


def test_a_restarted_agent_adopts_its_containers(pool: Pool) -> None:
    """Nothing is started twice, and what ended meanwhile is told."""
    endless = pool.run_task(0, replicas=3)
    ending = pool.run_task(0, replicas=3, command=("run", "4000", "0"))
    started = [m.engine.started for m in pool.world.machines]
    machine = pool.other()
    pool.world.crash(machine.number)
    pool.world.run(4_500)
    pool.world.start(machine.number)
    pool.until(lambda: pool.states(ending) == ["SUCCEEDED"] * 3)
    assert pool.states(endless) == ["RUNNING"] * 3
    assert [m.engine.started for m in pool.world.machines] == started


def test_the_chain_may_be_away(pool: Pool) -> None:
    """For a minute: nobody is put out, tasks are taken, and the age is told."""
    pool.world.chain_up = False
    pool.world.run(60_000)
    pool.run_task(1, replicas=3)
    view = pool.node(1).view(pool.world.now())
    assert view.roster_age_ms >= 60_000
    assert [n.membership for n in view.nodes] == [Membership.MEMBER] * 3
    assert any("chain" in problem for problem in view.problems)


def test_who_leaves_the_pool_stops_and_is_replaced(pool: Pool) -> None:
    """Its copies move, it stops them itself, and it is no voter any more."""
    name = pool.run_task(0, replicas=3)
    gone = pool.other().number
    pool.world.members.remove(gone)
    pool.until(lambda: pool.running(gone) == 0)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 3)
    assert sum(pool.running(n) for n in range(3)) == 3
    pool.until(lambda: len(pool.leader().node.context.pool_log.configuration.voters) == 2)  # type: ignore[union-attr]


def test_a_wiped_disk_is_not_the_voter_that_it_was(pool: Pool) -> None:
    """It neither votes nor counts until it was made a learner, then a voter, anew."""
    machine = pool.other()
    pool.world.crash(machine.number)
    pool.world.run(100)
    machine.disk = attrs.evolve(
        machine.disk,
        store_id=type(machine.disk.store_id)(b"\xee" * 16),
        log_id=None,
        hard=type(machine.disk.hard)(),
        snapshot=None,
        entries={},
        tables={name: {} for name in machine.disk.tables},
    )
    pool.world.start(machine.number)
    pool.world.run(100)
    assert pool.node(machine.number).context.pool_log.role is RaftRole.IDLE
    pool.until(lambda: pool.node(machine.number).context.pool_log.role is RaftRole.FOLLOWER)
    voters = pool.node(machine.number).context.pool_log.configuration.voters
    assert machine.store_id in [v.store_id for v in voters]


def test_who_has_no_right_is_refused_and_nothing_runs(pool: Pool) -> None:
    """A good signature by a stranger, at the leader and at the others: refused by the leader."""
    stranger = Account.from_key(b"\x99" * 32)
    address = Address(bytes.fromhex(stranger.address[2:]))
    for number in range(3):
        request = pool.signed[pool.sign(Action.SUBMIT, "", spec_json(brief()))].request
        signed = sign_request(POOL, stranger, request)
        asked = inputs.Asked(900 + number, SubmitCommand(signed, address), Signers(address))
        pool.world.give(pool.world.machines[number], asked)
        assert isinstance(pool.reply(900 + number), NotAllowed)
    pool.world.run(5_000)
    assert pool.leader().node.context.pool_log.state.tasks == {}  # type: ignore[union-attr]
    assert [m.engine.started for m in pool.world.machines] == [0, 0, 0]


def test_a_request_sent_twice_is_carried_out_once(pool: Pool) -> None:
    """The second answer names the first one's index."""
    request = pool.submit(0, brief())
    first = pool.reply(request)
    pool.world.replies.clear()
    pool.send(0, request)
    second = pool.reply(request)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert second.index == first.index
    assert len(pool.node(0).context.pool_log.state.tasks) == 1  # type: ignore[union-attr]


def test_a_follower_passes_on_what_the_leader_said_of_a_request(pool: Pool) -> None:
    """That it was carried out before, and that others hold it, as the leader itself says."""
    request = pool.sign(Action.SUBMIT, "", spec_json(brief()))
    for machine, duplicate in ((pool.other(), False), (pool.other(), True), (pool.leader(), True)):
        pool.world.replies.clear()
        pool.send(machine.number, request)
        answer = pool.reply(request)
        assert isinstance(answer, Accepted)
        assert (answer.duplicate, answer.replicated) == (duplicate, True)


def test_a_node_that_nobody_knows_is_not_drained(pool: Pool) -> None:
    """Asked at the leader or elsewhere; nothing of it stays in the state."""
    stranger = NodeId(b"\x77" * 20)
    for at in range(3):
        request = pool.sign(Action.DRAIN, stranger.hex(), "")
        pool.send(at, request)
        assert isinstance(pool.reply(request), NotFound)
    state = pool.leader().node.context.pool_log.state  # type: ignore[union-attr]
    assert state is not None
    assert stranger not in state.nodes


def test_an_applicant_gets_nothing() -> None:
    """Registered or not: outside the roster there is no heartbeat, vote, order or state."""
    world = World(7, 4)
    world.members.remove(3)
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(4):
        world.start(number)
    world.run(FORMED_MS)
    pool.run_task(0, replicas=3)
    world.run(10_000)
    outside = pool.node(3)
    assert outside.context.heartbeats.newest == {}
    assert outside.context.pool_log.commit_index == 0
    assert pool.running(3) == 0
    for number in range(3):
        assert world.machines[3].node_id not in pool.node(number).context.heartbeats.newest
    assert "not in the pool" in " ".join(outside.view(world.now()).problems)


def test_a_drained_node_hands_its_copies_on(pool: Pool) -> None:
    """They end there and begin elsewhere; then it is drained."""
    name = pool.run_task(0, replicas=3)
    drained = pool.other()
    pool.send(0, pool.sign(Action.DRAIN, drained.node_id.hex(), ""))
    pool.until(lambda: pool.running(drained.number) == 0)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 3)

    def intent() -> Intent:
        state = pool.node(0).context.pool_log.state
        assert state is not None
        return state.node(drained.node_id).intent

    pool.until(lambda: intent() is Intent.DRAINED)


def test_a_consistent_read_sees_what_was_acknowledged(pool: Pool) -> None:
    """Whatever was accepted before a read was asked is there when the read is answered."""
    for number in range(3):
        request = pool.submit(number, brief())
        accepted = pool.reply(request)
        assert isinstance(accepted, Accepted)
        reader = (number + 1) % 3
        pool.world.give(pool.world.machines[reader], inputs.Asked(700 + number, ReadIndexCommand()))
        assert isinstance(pool.reply(700 + number), Accepted)
        assert pool.node(reader).context.pool_log.applied_index >= accepted.index


def test_a_stop_of_a_copy_whose_order_never_came(pool: Pool) -> None:
    """Found by seed 3: the node had never heard of it and said nothing, so it never ended."""
    leader, other = pool.leader(), pool.other()
    pool.world.cut = {(leader.number, other.number)}
    gpus = Resources(gpu=GpuRequest(1))
    spec = TaskSpec(name="t", image="i", command=ENDLESS, replicas=3, resources=gpus)
    name = pool.submitted[pool.submit(leader.number, spec)]
    pool.until(lambda: "ASSIGNED" in pool.states(name) or "RUNNING" in pool.states(name))
    pool.stop(leader.number, name)
    pool.world.run(2_000)
    pool.world.cut = set()
    ended = {AllocationState.STOPPED.name}
    pool.until(lambda: set(pool.states(name)) == ended)


def test_an_image_that_is_long_in_coming_is_no_dead_end(pool: Pool) -> None:
    """Found by seed 63: the engine was away at the first try, and the end was never told."""
    for machine in pool.world.machines:
        machine.engine.away = True
    name = pool.submitted[pool.submit(0, brief())]
    pool.world.run(6_000)
    for machine in pool.world.machines:
        machine.engine.away = False
    pool.until(lambda: pool.states(name) == ["SUCCEEDED"])


def test_of_two_submissions_of_one_name_at_once_one_runs(pool: Pool) -> None:
    """Asked of two nodes in the same moment: the loser is told the winner's id, and so is who
    comes later."""
    spec = spec_json(TaskSpec(name="web", image="i", command=ENDLESS))
    asked = [pool.sign(Action.SUBMIT, "", spec) for _ in range(3)]
    for at, request in enumerate(asked[:2]):
        pool.send(at, request)
    told = [pool.reply(request) for request in asked[:2]]
    (won,) = [answer for answer in told if isinstance(answer, Accepted)]
    (lost,) = [answer for answer in told if isinstance(answer, Conflict)]
    assert won.task_id.hex() in lost.message
    pool.send(2, asked[2])
    late = pool.reply(asked[2])
    assert isinstance(late, Conflict)
    assert won.task_id.hex() in late.message
    state = pool.leader().node.context.pool_log.state  # type: ignore[union-attr]
    assert state is not None
    assert list(state.tasks) == [won.task_id]
