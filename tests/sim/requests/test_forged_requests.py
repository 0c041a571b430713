"""A leader writes requests that nobody with the right to make them signed: they stay its own.

Its own core writes them, so whoever took one would commit it with all others. Nobody is banned,
nothing is set, stopped or revoked, and the pool goes on.
"""

from collections.abc import Callable

import attrs
import pytest
from eth_account import Account

from p2pool.codec.entries import Record, encode_body
from p2pool.codec.json.hex import address_text
from p2pool.core.raft.acceptance import log_time
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, Digest, PoolRef, TaskId
from p2pool.model.log.entries import RequestApplied, Revocation, Setting
from p2pool.model.states import Intent
from p2pool.model.timing import Now
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.committee import leading, works
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS

REFUSED = "a leader's entries are refused"
THIEF = Account.from_key(b"\x66" * 32)
THIEF_ADDRESS = Address(bytes.fromhex(THIEF.address[2:]))
ELSEWHERE = PoolRef(POOL.chain_id, POOL.contract, POOL.pool_id + 1)
FRIEND = Address(b"\x99" * 20)


@attrs.define
class Lie:
    """A leader that lies, what it lies about, and a task that runs."""

    pool: Pool
    leader: Machine
    victim: Machine
    task: TaskId

    def asks(self, action: Action, pool: PoolRef = POOL) -> TaskRequest:
        """What a liar would have somebody ask for."""
        now_s = (WALL_MS + self.pool.world.now_ms) // 1000
        target, text = {
            Action.BAN: (self.victim.node_id.hex(), ""),
            Action.SET: ("timing", '{"value":"wan"}'),
            Action.STOP: (self.task.hex(), ""),
            Action.REVOKE: (FRIEND.hex(), '{"stopRunning":true}'),
        }[action]
        name = bytes([list(Action).index(action)]) * 32
        return TaskRequest(action, pool.pool_id, target, text, name, now_s - 1, now_s + 600)

    def write(self, record: Record) -> None:
        """The liar's own core takes it into its log, and sends it to all."""
        assert self.leader.node is not None
        pool_log, now = self.leader.node.context.pool_log, self.pool.world.now(self.leader)
        pool_log.propose(*encode_body(record), now)

    def is_in_vain(self) -> None:
        """Nobody has any of it, and the pool goes on."""
        self.pool.world.run(15_000)
        self.pool.until(lambda: len([m for m in self.pool.world.machines if self._leads(m)]) == 1)
        works(self.pool, self.victim.number)
        for m in self.pool.world.machines:
            assert m.node is not None
            state = m.node.context.pool_log.state
            assert state is not None
            assert state.node(self.victim.node_id).intent is Intent.ELIGIBLE
            assert state.settings == {}
            assert state.revocations == {}
            assert not state.tasks[self.task].stop_requested

    def _leads(self, m: Machine) -> bool:
        return m.node is not None and m.node.context.pool_log.leads


@pytest.fixture
def lie() -> Lie:
    """Three voters, one of which leads, and a task."""
    pool = formed(3)
    leader = pool.leader()
    pool.world.expected = (REFUSED,)
    pool.world.perjured.add(leader.store_id)
    return Lie(pool, leader, pool.voter(), pool.run_task(leader.number))


def in_its_name(lie: Lie, action: Action) -> Record:
    """Signed by the liar's own key, in the manager's name."""
    signed = sign_request(POOL, THIEF, lie.asks(action))
    return RequestApplied(signed, lie.leader.node_id, MANAGER_ADDRESS)


def by_its_own_key(lie: Lie, action: Action) -> Record:
    """Signed by an account that has no right to it, and in that account's name."""
    signed = sign_request(POOL, THIEF, lie.asks(action))
    return RequestApplied(signed, lie.leader.node_id, THIEF_ADDRESS)


def of_another_pool(lie: Lie, action: Action) -> Record:
    """The manager signed it, for another pool."""
    signed = sign_request(ELSEWHERE, MANAGER, lie.asks(action, ELSEWHERE))
    moved = attrs.evolve(signed, request=lie.asks(action))
    return RequestApplied(moved, lie.leader.node_id, MANAGER_ADDRESS)


def without_a_signature(lie: Lie, action: Action) -> Record:
    """Bytes that are no signature."""
    signed = SignedRequest(lie.asks(action), b"s" * 65)
    return RequestApplied(signed, lie.leader.node_id, MANAGER_ADDRESS)


ACTIONS = (Action.BAN, Action.SET, Action.STOP, Action.REVOKE)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.value)
@pytest.mark.parametrize(
    "forged", [in_its_name, by_its_own_key, of_another_pool, without_a_signature]
)
def test_what_nobody_may_ask_for_stays_the_leaders_own(
    lie: Lie, forged: Callable[[Lie, Action], Record], action: Action
) -> None:
    """Whichever way it is forged."""
    lie.write(forged(lie, action))
    lie.is_in_vain()


@pytest.mark.parametrize(
    "record",
    [Setting("timing", "wan"), Revocation(FRIEND, 2**40, True, Digest(bytes(32)))],
    ids=["setting", "revocation"],
)
def test_what_takes_a_request_is_not_written_without_one(lie: Lie, record: Record) -> None:
    """The log knows these as entries of their own, and no leader writes them."""
    lie.write(record)
    lie.is_in_vain()


def test_a_false_signer_is_proven_everywhere(lie: Lie) -> None:
    """The sealed append alone shows it: who signed is to be recovered by anybody."""
    lie.write(in_its_name(lie, Action.BAN))
    lie.is_in_vain()
    named = address_text(lie.leader.node_id)
    for m in lie.pool.world.machines:
        assert m.node is not None
        problems = m.node.view(lie.pool.world.now(m)).warnings
        assert any(named in said and "as the leader of term" in said for said in problems)


def test_nobody_is_proven_to_lie_for_an_account_without_rights(lie: Lie) -> None:
    """Others' rosters differ: it may be honest."""
    lie.write(by_its_own_key(lie, Action.BAN))
    lie.is_in_vain()
    for m in lie.pool.world.machines:
        assert m.node is not None
        assert not m.node.parts.bad_appends.kept.by_name


def test_a_liar_that_does_not_hand_on_is_doubted(lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on offering what nobody takes, and the log stands still for two minutes."""
    hands_on = log_time.hand_on

    def hand_on(s: RaftState, now: Now) -> None:
        if s.me.store_id != lie.leader.store_id:
            hands_on(s, now)

    monkeypatch.setattr(log_time, "hand_on", hand_on)
    lie.write(by_its_own_key(lie, Action.BAN))
    lie.pool.world.run(limits.REQUEST_DOUBTED_AFTER_MS - 10_000)
    assert leading(lie.pool) == lie.leader.number
    lie.pool.until(lambda: leading(lie.pool) not in (None, lie.leader.number), 30_000)
    lie.is_in_vain()
