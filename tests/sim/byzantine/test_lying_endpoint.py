"""One node's RPC endpoint lies: nobody loses work, nobody follows a false log or manager."""

import attrs
import pytest
from eth_account import Account

from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.access.requests import Action, Signers, TaskRequest
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.ids import Address, StoreId
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.states import PoolStatus, RaftRole
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.committee import problems, works
from tests.sim.harness.pool import Pool, brief, formed
from tests.sim.world.machine import ChainView
from tests.sim.world.world import POOL, WALL_MS

FALSE_EPOCH = 999
LIES_MS = 40_000


@pytest.fixture
def short_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes instead of ten, where a test waits for all of them."""
    monkeypatch.setattr(limits, "CHAIN_HOLD_MS", 120_000)


def lie(pool: Pool, number: int, **view: object) -> None:
    """From now on a machine's only endpoint says something else."""
    pool.world.machines[number].chain = ChainView(**view)  # type: ignore[arg-type]


def log_of(pool: Pool, number: int) -> PoolLog:
    return pool.node(number).context.pool_log


def false_root(pool: Pool, founder: int) -> RootRecord:
    """A record by which a member would found another log, from nothing."""
    m = pool.world.machines[founder]
    return RootRecord(FALSE_EPOCH, m.node_id, m.peer_key, m.store_id)


def member(pool: Pool) -> int:
    """A member without a seat."""
    return next(m.number for m in pool.world.machines if log_of(pool, m.number).fetches)


# --- the root record ------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [False, True])
def test_a_false_root_moves_no_voter(restarts: bool) -> None:
    """It stays a voter, keeps its log, and says what is wrong; also over a restart."""
    pool = formed()
    voter = pool.other().number
    end = log_of(pool, voter).last_index
    lie(pool, voter, root=false_root(pool, pool.leader().number))
    pool.world.run(LIES_MS)
    if restarts:
        pool.world.crash(voter)
        pool.world.start(voter)
        pool.world.run(LIES_MS)
    assert log_of(pool, voter).epoch == 1
    assert log_of(pool, voter).role is RaftRole.FOLLOWER
    assert log_of(pool, voter).last_index >= end
    assert "the root record: check [chain] endpoints" in problems(pool, voter)
    works(pool, voter)


def test_a_false_founder_resets_no_log() -> None:
    """The liar's record names a member that founds it and appends: the voter's disk stays."""
    pool = formed(5)
    voter, founder = pool.voter().number, member(pool)
    root = false_root(pool, founder)
    # The founder believes its own endpoint's record: it has nothing else to go by.
    pool.world.crash(founder)
    m = pool.world.machines[founder]
    m.disk = attrs.evolve(m.disk, log_id=None, tables={name: {} for name in m.disk.tables})
    lie(pool, founder, root=root)
    lie(pool, voter, root=root)
    pool.world.start(founder)
    pool.world.run(LIES_MS)
    assert log_of(pool, founder).epoch == FALSE_EPOCH
    assert log_of(pool, voter).epoch == 1
    assert pool.world.machines[voter].disk.last_index > 0
    works(pool, voter)


def test_a_newcomer_that_believed_a_false_root_comes_back() -> None:
    """It knew no voters, took its endpoint's word and said so; the true record moves it again."""
    pool = formed(5)
    late = member(pool)
    pool.world.crash(late)
    m = pool.world.machines[late]
    m.disk = attrs.evolve(m.disk, log_id=None, tables={name: {} for name in m.disk.tables})
    lie(pool, late, root=false_root(pool, pool.leader().number))
    pool.world.start(late)
    pool.world.run(20_000)
    assert log_of(pool, late).epoch == FALSE_EPOCH
    assert "from one endpoint" in problems(pool, late)
    lie(pool, late)
    pool.until(lambda: log_of(pool, late).epoch == 1 and log_of(pool, late).applied_index > 0)
    works(pool, late)


def test_voters_that_were_lied_to_at_once_come_back_to_their_log() -> None:
    """Two of three are told the same: they stand still, lose nothing, and go on where they were."""
    pool = formed()
    root = false_root(pool, pool.leader().number)
    root = attrs.evolve(root, store_id=StoreId(bytes(16)))
    name = pool.run_task(0, replicas=3)
    voters = [m.number for m in pool.world.machines]
    for number in voters[1:]:
        lie(pool, number, root=root)
    pool.until(lambda: all(log_of(pool, n).epoch == FALSE_EPOCH for n in voters[1:]))
    pool.world.run(20_000)
    assert all(pool.world.machines[n].disk.last_index > 0 for n in voters)
    for number in voters[1:]:
        pool.world.crash(number)
        pool.world.start(number)
    pool.world.run(3_000)
    assert all(log_of(pool, n).epoch == FALSE_EPOCH for n in voters[1:])
    for number in voters[1:]:
        lie(pool, number)
    # Those that read the lie since their start say so: the one that never did and they themselves
    # are a majority.
    pool.until(lambda: all(log_of(pool, n).epoch == 1 for n in voters), 120_000)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 3, 120_000)
    works(pool, voters[1])


@pytest.mark.usefixtures("short_hold")
def test_a_recovery_with_one_endpoint_each_waits_ten_minutes() -> None:
    """The majority is gone, nobody can confirm the next epoch; a third endpoint would, at once."""
    pool = formed(5)
    leader = pool.leader().number
    voters = [m.number for m in pool.world.machines if not log_of(pool, m.number).fetches]
    lost = [leader, next(n for n in voters if n != leader)]
    left = next(n for n in voters if n not in lost)
    for number in lost:
        pool.world.crash(number)
    pool.world.run(10_000)
    m = pool.world.machines[left]
    held = log_of(pool, left).held_log
    assert held is not None
    previous = PreviousLog(
        held.raft.state.log_id, held.raft.state.log.last_index, held.end_digest()
    )
    pool.world.root = RootRecord(2, m.node_id, m.peer_key, m.store_id, previous)
    pool.world.run(limits.CHAIN_HOLD_MS - 20_000)
    assert log_of(pool, left).epoch == 1
    pool.until(lambda: log_of(pool, left).leads and log_of(pool, left).epoch == 2)
    works(pool, left)


# --- what takes work away -------------------------------------------------------------------------


@pytest.mark.parametrize("agreed", [False, True])
def test_a_false_end_at_the_leader_stops_no_task(agreed: bool) -> None:
    """Nor do two endpoints of one liar: only the voters can confirm that."""
    pool = formed()
    name = pool.run_task(0, replicas=3)
    lie(pool, pool.leader().number, ended=True, agreed=agreed)
    pool.world.run(LIES_MS)
    assert pool.states(name) == ["RUNNING"] * 3
    assert sum(pool.running(n) for n in range(3)) == 3
    assert "the pool's status" in problems(pool, pool.leader().number)
    works(pool, 0)


@pytest.mark.usefixtures("short_hold")
def test_a_true_end_stops_everything() -> None:
    """With two endpoints at once; where each has one, all may be one provider's: ten minutes."""
    for agreed in (True, False):
        pool = formed()
        pool.run_task(0, replicas=3)
        for number in range(3):
            lie(pool, number, ended=True, agreed=agreed)
        pool.world.out_ms = dict.fromkeys(range(3), 10**9)
        pool.world.run(30_000)
        assert sum(pool.running(n) for n in range(3)) == (0 if agreed else 3)
        if not agreed:
            assert "much away at once" in problems(pool, 0)
            pool.until(lambda: not sum(pool.running(n) for n in range(3)), limits.CHAIN_HOLD_MS)  # noqa: B023


def test_one_false_reading_of_the_leader_loses_no_healthy_copy() -> None:
    """It reads that a member is out: the copy there runs on, and no second one is placed."""
    pool = formed()
    name = pool.run_task(0, replicas=3)
    leader = pool.leader().number
    out = pool.other().number
    lie(pool, leader, members=[n for n in range(3) if n != out])
    pool.world.run(LIES_MS)
    assert pool.states(name) == ["RUNNING"] * 3
    assert {m.engine.started for m in pool.world.machines} == {1}
    works(pool, out)


def test_a_node_told_that_it_is_out_keeps_its_copies() -> None:
    """Until the voters say so too."""
    pool = formed(5)
    name = pool.run_task(0, replicas=5)
    told = member(pool)
    lie(pool, told, members=[n for n in range(5) if n != told])
    pool.world.run(LIES_MS)
    assert pool.states(name) == ["RUNNING"] * 5
    assert pool.running(told) == 1
    lie(pool, told)
    pool.world.members.remove(told)
    pool.until(lambda: not pool.running(told), 30_000)


def test_many_removals_at_once_go_slowly_where_all_have_one_endpoint() -> None:
    """One provider for all may lie to all: one a minute, and all of them after ten minutes."""
    pool = formed(7)
    name = pool.run_task(0, replicas=7)
    out = [m.number for m in pool.world.machines if log_of(pool, m.number).fetches][:3]
    for number in out:
        pool.world.members.remove(number)
    pool.world.run(50_000)
    assert sum(pool.running(n) for n in out) == 2
    leader = pool.leader().number
    assert "much away at once" in problems(pool, leader)
    pool.until(lambda: not sum(pool.running(n) for n in out), 180_000)
    pool.until(lambda: sorted(pool.states(name)).count("RUNNING") == 7, 180_000)


# --- who may command ------------------------------------------------------------------------------


def test_a_false_manager_runs_nothing() -> None:
    """Neither where its endpoint names it, nor through the leader whose endpoint does."""
    pool = formed()
    thief = Account.from_key(b"\x66" * 32)
    address = Address(bytes.fromhex(thief.address[2:]))
    lie(pool, pool.leader().number, manager=address)
    pool.world.run(20_000)
    now_s = (WALL_MS + pool.world.now_ms) // 1000
    request = TaskRequest(
        Action.SUBMIT, POOL.pool_id, "", spec_json(brief()), bytes(32), now_s - 1, now_s + 600
    )
    signed = sign_request(POOL, thief, request)
    leader = pool.leader()
    pool.world.give(leader, inputs.Asked(77, SubmitCommand(signed, address), Signers(address)))
    assert not isinstance(pool.reply(77), Accepted)
    assert leader.node is not None
    latest = leader.node.context.roster.latest
    assert latest is not None
    assert latest.manager == pool.world.manager
    works(pool, 0)


def test_a_ban_by_the_manager_needs_no_chain() -> None:
    """No endpoint answers, over a restart of all: the log and the last roster are enough."""
    pool = formed()
    pool.world.chain_up = False
    for number in range(3):
        pool.world.crash(number)
    for number in range(3):
        pool.world.start(number)
    pool.until(lambda: any(log_of(pool, n).leads for n in range(3)))
    name = pool.run_task(0, replicas=3)
    banned = pool.other()
    request = pool.sign(Action.BAN, banned.node_id.hex(), "")
    pool.send(0, request)
    assert isinstance(pool.reply(request), Accepted)
    pool.until(lambda: not pool.running(banned.number))
    assert pool.states(name)


@pytest.mark.usefixtures("short_hold")
def test_who_does_not_read_is_named_after_ten_minutes() -> None:
    """Two of three voters lose the chain: a removal waits, and people learn whose endpoints."""
    pool = formed(5)
    leader = pool.leader().number
    blind = [
        m.number
        for m in pool.world.machines
        if not log_of(pool, m.number).fetches and m.number != leader
    ]
    for number in blind:
        lie(pool, number, up=False)
    pool.world.run(2_000)
    gone = member(pool)
    pool.world.members.remove(gone)
    pool.world.run(60_000)
    assert pool.node(leader).context.roster.belongs(pool.world.machines[gone].node_id)
    assert "cannot read" not in problems(pool, leader).replace("cannot be read", "")
    pool.world.run(limits.CHAIN_HOLD_MS)
    said = problems(pool, leader)
    for number in blind:
        assert pool.world.machines[number].node_id.hex() in said
    lie(pool, blind[0])
    pool.until(
        lambda: not pool.node(leader).context.roster.belongs(pool.world.machines[gone].node_id)
    )


def test_a_lagging_endpoint_confirms_when_it_has_read_as_far() -> None:
    """A voter that lags does not contradict: the removal counts once it has read as far."""
    pool = formed()
    leader, late = pool.leader().number, pool.other().number
    lie(pool, late, lag_ms=9_000)
    pool.world.run(20_000)
    gone = next(n for n in range(3) if n not in (leader, late))
    pool.world.members.remove(gone)
    pool.world.run(4_000)
    name = pool.world.machines[gone].node_id
    assert pool.node(leader).context.roster.belongs(name)
    pool.until(lambda: pool.node(leader).context.roster.out_finally(name), 20_000)
    status = pool.node(leader).context.roster.final
    assert status is not None
    assert status.status is PoolStatus.ACTIVE
