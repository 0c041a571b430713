"""A pool whose manager is a contract: what it signs counts where the chain says so, and only there.

Each machine asks its own endpoints, about one final block. A leader that makes a verdict up gets no
quorum, an endpoint that lies misleads its own machine alone, and where nobody can tell nothing is
taken.
"""

from typing import Any

import attrs
import pytest
from eth_account.signers.local import LocalAccount

from p2pool.codec.digests import task_id
from p2pool.codec.entries import encode_body
from p2pool.core.log.request_check import RequestCheck
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Scope
from p2pool.model.access.requests import Action
from p2pool.model.access.verdicts import Validity
from p2pool.model.errors import BadSignature, ChainUnavailable, NotAllowed, P2poolError
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.log.entries import RequestApplied
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import Intent
from p2pool.wire.typed_data import sign_delegation
from tests.sim.harness.contract_pool import (
    CONTRACT,
    FRIEND,
    OWNER,
    THIEF,
    Managed,
    address_of,
    managed,
)
from tests.sim.harness.pool import FORMED_MS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER_ADDRESS, POOL, World

# --- what it may ---------------------------------------------------------------------------------


def test_what_the_owner_signs_is_the_contracts() -> None:
    """A task runs, and its record says at which block the chain took the signature."""
    made = managed()
    for at in range(3):
        name = made.run(made.task(f"t-{at}"), at=at)
        for number in range(3):
            made.pool.until(lambda: made.knows(number, name))  # noqa: B023
            state = made.pool.node(number).context.pool_log.state
            assert state is not None
            record = state.tasks[name].record
            assert record.signer == CONTRACT
            assert record.judged_at is not None
            found = made.world.chain.find(record.judged_at.block_hash)
            assert found is not None
            assert found.number == record.judged_at.number


def test_a_contract_gives_a_right_to_a_key() -> None:
    """Its delegate signs by itself; the chain is asked about the delegation."""
    made = managed()
    now_s = made.now_s()
    given = Delegation(POOL.pool_id, address_of(FRIEND), Scope.SUBMIT, now_s - 10, now_s + 3600)
    under = attrs.evolve(sign_delegation(POOL, OWNER, given), contract=CONTRACT)
    made.run(attrs.evolve(made.task(by=FRIEND), contract=None, delegation=under))
    forged = attrs.evolve(sign_delegation(POOL, FRIEND, given), contract=CONTRACT)
    request = attrs.evolve(made.task("u", by=FRIEND), contract=None, delegation=forged)
    assert isinstance(made.ask(0, request), BadSignature)


def test_a_log_is_read_again_without_the_chain() -> None:
    """All agents start anew and no endpoint answers: the log was checked when it was written."""
    made = managed()
    name = made.run(made.task(replicas=3), copies=3)
    made.world.chain_up = False
    for number in range(3):
        made.world.crash(number)
    for number in range(3):
        made.world.start(number)
    made.pool.until(lambda: made.pool.states(name) == ["RUNNING"] * 3)
    assert {m.engine.started for m in made.world.machines} == {1}


# --- what it may not ------------------------------------------------------------------------------


def test_a_former_owner_asks_in_vain_and_what_runs_stays() -> None:
    """Owners change on the chain: from then on their signatures are none, to everybody."""
    made = managed()
    name = made.run(made.task(replicas=3), copies=3)
    made.world.owners[CONTRACT] = address_of(THIEF)
    made.world.run(3_000)
    for at in range(3):
        refused = made.ask(at, made.task(f"late-{at}"))
        assert isinstance(refused, BadSignature)
        assert "did not sign" in refused.message
    assert made.pool.states(name) == ["RUNNING"] * 3
    made.run(made.task("new", by=THIEF))


def test_a_copy_moves_though_the_owner_changed_since() -> None:
    """Its submission is judged at the block of its time, also by a node that never saw it."""
    made = managed(4)
    name = made.run(made.task(reconnect_window_s=5), copies=1)
    made.world.owners[CONTRACT] = address_of(THIEF)
    made.world.run(3_000)
    host = next(m for m in made.world.machines if made.pool.running(m.number))
    made.world.crash(host.number)
    others = [m for m in made.world.machines if m is not host]
    made.pool.until(lambda: any(made.pool.running(m.number) for m in others), 180_000)
    made.pool.until(lambda: made.pool.states(name) == ["RUNNING"], 60_000)


def test_no_chain_no_answer() -> None:
    """Nobody can tell, so nothing is taken, and the asker hears why."""
    made = managed()
    made.world.chain_up = False
    made.world.run(2_000)
    refused = made.ask(0, made.task())
    assert isinstance(refused, ChainUnavailable)
    assert "cannot tell" in refused.message
    made.world.chain_up = True
    made.world.run(limits.CONTRACT_ASK_AGAIN_MS + 2_000)
    made.run(made.task("again"))


def test_a_pool_of_the_first_level_has_no_contract_accounts() -> None:
    """Its older agents could not read what they sign."""
    world = World(7, 3)
    world.manager, world.owners = CONTRACT, {CONTRACT: MANAGER_ADDRESS}
    world.known = dict.fromkeys(range(3), BASE_LEVEL)
    pool = Pool(7, world, Checks(world), world.rng)
    for number in range(3):
        world.start(number)
    world.run(FORMED_MS)
    made = Managed(pool)
    refused = made.ask(0, made.task())
    assert isinstance(refused, NotAllowed)
    assert "feature level 1" in refused.message


# --- leaders that lie ----------------------------------------------------------------------------


@attrs.define
class Lie:
    """A leader that writes what the contract did not sign, and whom it is about."""

    made: Managed
    leader: Machine
    victim: Machine

    def write(self, by: LocalAccount = THIEF, **fields: Any) -> None:
        """Its own core takes it into its log, and sends it to all."""
        assert self.leader.node is not None
        request = self.made.request(Action.BAN, self.victim.node_id.hex())
        record = RequestApplied(
            signed=self.made.signed(request, by),
            via=self.leader.node_id,
            signer=CONTRACT,
            judged_at=self.made.block(),
        )
        record = attrs.evolve(record, **fields)
        kind, body = encode_body(record, DISTRUST_LEVEL)
        now = self.made.world.now(self.leader)
        self.leader.node.context.pool_log.propose(kind, body, now)

    def banned(self) -> list[int]:
        """Who believes it."""
        machines = self.made.world.machines
        name = self.victim.node_id
        return [m.number for m in machines if self.made.intent(m, name) is Intent.BANNED]


@pytest.fixture
def lie() -> Lie:
    """Three voters, one of which leads."""
    made = managed()
    leader = made.pool.leader()
    made.world.expected = ("a leader's entries are refused",)
    made.world.perjured.add(leader.store_id)
    return Lie(made, leader, made.pool.voter())


def test_a_made_up_verdict_gets_no_quorum(lie: Lie) -> None:
    """The leader says that the chain took it; the others ask the chain themselves."""
    lie.write()
    lie.made.world.run(15_000)
    assert lie.banned() == []
    lie.made.settles()
    assert lie.banned() == []


def test_without_that_question_it_would(lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lie among followers that take the leader's word: what this file shows can fail."""
    monkeypatch.setattr(RequestCheck, "_unjudged", lambda self, entry, record, offer: None)
    lie.write()
    lie.made.world.run(15_000)
    assert lie.banned() == [0, 1, 2]


def test_a_verdict_without_its_block_is_proof_of_a_lie(lie: Lie) -> None:
    """Whoever reads the append sees it: no honest leader writes that."""
    lie.write(judged_at=None)
    lie.made.world.run(15_000)
    assert lie.banned() == []
    for m in lie.made.world.machines:
        assert m.node is not None
        assert m.node.parts.bad_appends.kept.by_name


def test_a_former_owners_block_is_too_long_ago(lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain did take that signature, once: what is asked now is judged at a block of now."""
    monkeypatch.setattr(limits, "CONTRACT_BLOCK_AGE_MAX_MS", 10_000)
    old = lie.made.block()
    lie.made.world.owners[CONTRACT] = address_of(THIEF)
    lie.made.world.run(limits.CONTRACT_BLOCK_AGE_MAX_MS + 3_000)
    leader = lie.made.pool.leader()
    lie.leader = leader
    lie.victim = lie.made.pool.voter()
    lie.made.world.perjured.add(leader.store_id)
    lie.write(by=OWNER, judged_at=old)
    lie.made.world.run(15_000)
    assert lie.banned() == []


# --- endpoints that lie, or are away --------------------------------------------------------------


def test_an_endpoint_that_says_yes_convinces_its_own_leader_alone() -> None:
    """It proposes in good faith, nobody takes it, and the next leader says no."""
    made = managed()
    leader = made.pool.leader().number
    made.lie(judges=Validity.VALID)(leader)
    refused = made.ask(leader, made.task(by=THIEF))
    assert isinstance(refused, P2poolError)
    assert not any(s.tasks for s in _states(made))
    made.lie()(leader)
    made.settles()


def test_one_endpoint_that_says_no_keeps_nobody_else() -> None:
    """One follower's does: the others commit, and it takes what a quorum has certified."""
    made = managed()
    follower = made.pool.other().number
    made.lie(judges=Validity.INVALID)(follower)
    signed = made.task()
    assert isinstance(made.ask(made.pool.leader().number, signed), Accepted)
    name = task_id(POOL, signed.request)
    made.pool.until(lambda: made.knows(follower, name), 180_000)


def test_one_follower_without_the_chain_keeps_nobody_else() -> None:
    """Nor is its leader doubted for that."""
    made = managed()
    leader, follower = made.pool.leader().number, made.pool.other().number
    made.lie(up=False)(follower)
    made.world.run(3_000)
    signed = made.task()
    assert isinstance(made.ask(leader, signed), Accepted)
    name = task_id(POOL, signed.request)
    assert not made.knows(follower, name)
    made.pool.until(lambda: made.knows(follower, name), 180_000)


def test_a_majority_without_the_chain_takes_nothing() -> None:
    """The leader alone reads it: its entry reaches no quorum, and it says so in the end."""
    made = managed()
    leader = made.pool.leader().number
    for number in range(3):
        if number != leader:
            made.lie(up=False)(number)
    made.world.run(3_000)
    refused = made.ask(leader, made.task())
    assert isinstance(refused, P2poolError)
    assert not any(s.tasks for s in _states(made))
    for number in range(3):
        made.lie()(number)
    made.world.run(limits.CONTRACT_ASK_AGAIN_MS + 2_000)
    made.settles()


def _states(made: Managed) -> list:  # type: ignore[type-arg]
    found = (made.pool.node(n).context.pool_log.state for n in range(len(made.world.machines)))
    return [state for state in found if state is not None]


# --- nodes that start -----------------------------------------------------------------------------


def without_a_seat(made: Managed) -> int:
    return next(
        m.number
        for m in made.world.machines
        if m.node is not None and m.node.context.pool_log.fetches
    )


def test_a_node_without_the_chain_starts_nothing_and_says_why() -> None:
    """It waits, with the reason, until its endpoint is back."""
    made = managed(5)
    blind = without_a_seat(made)
    made.lie(up=False)(blind)
    made.world.run(3_000)
    signed = made.task(replicas=5)
    assert isinstance(made.ask(made.pool.leader().number, signed), Accepted)
    name = task_id(POOL, signed.request)
    made.pool.until(lambda: made.pool.states(name).count("RUNNING") == 4)
    made.world.run(10_000)
    assert not made.pool.running(blind)
    state = made.pool.node(made.pool.leader().number).context.pool_log.state
    assert state is not None
    (waits,) = [c for c in state.of_task(name) if c.state.name != "RUNNING"]
    assert "nobody can tell whether a contract account signed it" in waits.reason
    made.lie()(blind)
    made.pool.until(lambda: made.pool.states(name) == ["RUNNING"] * 5, 120_000)
    assert made.pool.running(blind)


def test_a_node_whose_endpoint_says_no_ends_nothing_for_the_pool() -> None:
    """It refuses the copy, and another node takes it."""
    made = managed(5)
    misled = without_a_seat(made)
    made.lie(judges=Validity.INVALID)(misled)
    signed = made.task(replicas=5)
    assert isinstance(made.ask(made.pool.leader().number, signed), Accepted)
    name = task_id(POOL, signed.request)
    made.pool.until(lambda: made.pool.states(name) == ["RUNNING"] * 5, 120_000)
    assert not made.pool.running(misled)
