"""The pool's manager changes on the chain while requests are under way: the log goes on.

Nodes read the change seconds or minutes apart, so one asks for a signer's right that another has
not seen yet, or no longer sees. Nobody is taken for a liar for that, and nothing stands still.
"""

from collections.abc import Callable

import attrs
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.access.requests import Action, Signers, TaskRequest
from p2pool.model.errors import NoLeader, NotAllowed, Unavailable
from p2pool.model.ids import Address
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.committee import leading, voters
from tests.sim.harness.pool import Pool, brief, formed
from tests.sim.world.machine import ChainView
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS

NEXT = Account.from_key(b"\x55" * 32)
NEXT_ADDRESS = Address(bytes.fromhex(NEXT.address[2:]))
FIRST = 1_000


class Asks:
    """People who ask for tasks with one account or another, and what they were told."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.number = pool, FIRST

    def submit(self, at: int, account: LocalAccount) -> int:
        """The number of the request."""
        self.number += 1
        now_s = (WALL_MS + self.pool.world.now_ms) // 1000
        spec = attrs.evolve(brief(), name=f"brief-{self.number}")
        name, text = self.number.to_bytes(32, "big"), spec_json(spec)
        request = TaskRequest(Action.SUBMIT, POOL.pool_id, "", text, name, now_s - 1, now_s + 600)
        address = Address(bytes.fromhex(account.address[2:]))
        command = SubmitCommand(sign_request(POOL, account, request), address)
        machine = self.pool.world.machines[at]
        self.pool.world.give(machine, inputs.Asked(self.number, command, Signers(address)))
        return self.number

    def reply(self, at: int, account: LocalAccount) -> object:
        return self.pool.reply(self.submit(at, account))


def log_of(pool: Pool, number: int) -> PoolLog:
    return pool.node(number).context.pool_log


def believes(pool: Pool, *numbers: int) -> Callable[[], bool]:
    """Whether these nodes go by the new manager."""
    rosters = [pool.node(n).context.roster for n in numbers]
    return lambda: all(r.latest is not None and r.latest.manager == NEXT_ADDRESS for r in rosters)


def handed_over(pool: Pool, *late: int) -> None:
    """The chain names another manager, and all but some voters go by it."""
    for number in late:
        pool.world.machines[number].chain = ChainView(manager=MANAGER_ADDRESS)
    pool.world.manager = NEXT_ADDRESS
    pool.until(believes(pool, *(n for n in range(3) if n not in late)))


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_requests_go_on_while_the_manager_changes(seed: int) -> None:
    """Each gets an answer, by the old right or the new; none takes a leader its office."""
    pool = formed(3, seed)
    asks, term = Asks(pool), log_of(pool, pool.leader().number).term
    asked = []
    for n in range(60):
        if n == 20:
            pool.world.manager = NEXT_ADDRESS
        asked.append(asks.submit(n % 3, (MANAGER, NEXT)[n // 3 % 2]))
        pool.world.run(300)
    answers = [pool.reply(number) for number in asked]
    assert all(isinstance(said, Accepted | NotAllowed) for said in answers)
    assert isinstance(asks.reply(0, NEXT), Accepted)
    assert isinstance(asks.reply(1, MANAGER), NotAllowed)
    assert log_of(pool, pool.leader().number).term == term
    pool.world.run(2_000)
    assert len({log_of(pool, n).commit_index for n in range(3)}) == 1


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute instead of ten, where a test waits for all of it."""
    monkeypatch.setattr(limits, "FORMER_RIGHTS_MS", 60_000)


def test_one_voter_that_reads_late_waits_for_a_certificate() -> None:
    """The others commit what the new manager asks for; they vouch for it within a minute or two."""
    pool = formed(3)
    asks = Asks(pool)
    late = pool.other().number
    handed_over(pool, late)
    assert isinstance(asks.reply(pool.leader().number, NEXT), Accepted)
    pool.world.run(5_000)
    held = log_of(pool, late)
    assert held.commit_index < log_of(pool, pool.leader().number).commit_index
    assert held.leader == pool.leader().node_id
    assert held.request_check.held is not None
    most_ms = limits.CERTIFY_INTERVAL_MS + limits.CERTIFICATE_TELL_INTERVAL_MS
    pool.until(
        lambda: held.commit_index == log_of(pool, pool.leader().number).commit_index, most_ms
    )
    assert late in voters(pool)


def test_a_voter_that_cannot_read_the_chain_does_not_wait() -> None:
    """It starts anew with a roster that is older than blocks may be late: it cannot tell who has
    come to which right, and takes what is truly signed."""
    pool = formed(3)
    asks, late = Asks(pool), pool.other().number
    pool.world.crash(late)
    pool.world.machines[late].chain = ChainView(up=False)
    pool.world.manager = NEXT_ADDRESS
    pool.until(believes(pool, *(n for n in range(3) if n != late)))
    pool.world.run(limits.CHAIN_TIME_LAG_MS)
    pool.world.start(late)
    assert isinstance(asks.reply(pool.leader().number, NEXT), Accepted)
    pool.world.run(5_000)
    assert log_of(pool, late).commit_index == log_of(pool, pool.leader().number).commit_index
    assert late in voters(pool)


@pytest.mark.usefixtures("short_memory")
def test_a_leader_that_reads_late_asks_by_the_former_right() -> None:
    """For some minutes the others take it; its endpoint is no liar's."""
    pool = formed(3)
    asks = Asks(pool)
    first = pool.leader().number
    handed_over(pool, first)
    assert isinstance(asks.reply(first, MANAGER), Accepted)
    pool.world.run(limits.FORMER_RIGHTS_MS // 2)
    assert leading(pool) == first
    assert isinstance(asks.reply(first, MANAGER), Accepted)


@pytest.mark.usefixtures("short_memory")
def test_a_leader_that_reads_too_late_hands_on() -> None:
    """To one that lacks the request: its asker hears that it may not ask."""
    pool = formed(3)
    asks = Asks(pool)
    first = pool.leader().number
    handed_over(pool, first)
    pool.world.run(limits.FORMER_RIGHTS_MS + 5_000)
    told = asks.reply(first, MANAGER)
    assert isinstance(told, NotAllowed | NoLeader | Unavailable)
    pool.until(lambda: leading(pool) not in (None, first), 15_000)
    assert isinstance(asks.reply(first, NEXT), Accepted)
    pool.until(lambda: log_of(pool, first).applied_index == log_of(pool, 0).applied_index)


def test_the_last_two_get_past_what_one_of_them_has_not_read() -> None:
    """The leader commits the new manager's request with one voter, and is lost; the other voter
    has not read of that manager, and its vote alone makes no leader without the request."""
    pool = formed(3)
    asks = Asks(pool)
    first, late = pool.leader().number, pool.other().number
    handed_over(pool, late)
    assert isinstance(asks.reply(first, NEXT), Accepted)
    pool.world.crash(first)
    second = next(n for n in range(3) if n not in (first, late))
    most_ms = limits.REQUEST_TAKEN_AFTER_MS + 20_000
    pool.until(lambda: leading(pool) == second, most_ms)
    assert log_of(pool, late).applied_index >= log_of(pool, second).applied_index - 1
    pool.world.machines[late].chain = ChainView()
    pool.until(believes(pool, late))
    assert isinstance(asks.reply(late, NEXT), Accepted)


def test_several_requests_of_a_lost_leader_do_not_wait_one_after_the_other() -> None:
    """The same with five requests that no quorum has certified: they pass together."""
    pool = formed(3)
    asks = Asks(pool)
    first, late = pool.leader().number, pool.other().number
    handed_over(pool, late)
    for _ in range(5):
        assert isinstance(asks.reply(first, NEXT), Accepted)
    pool.world.crash(first)
    second = next(n for n in range(3) if n not in (first, late))
    pool.until(lambda: leading(pool) == second, limits.REQUEST_TAKEN_AFTER_MS + 20_000)


def test_the_last_two_go_on_once_they_have_read_the_same() -> None:
    """One of three is lost, and the leader's only follower has not read of the new manager for so
    long that it doubts the leader. When it has, that leader is elected again, by its vote."""
    pool = formed(3)
    asks = Asks(pool)
    first, late = pool.leader().number, pool.other().number
    third = next(n for n in range(3) if n not in (first, late))
    pool.world.expected = (*pool.world.expected, "a leader's entries are refused")
    handed_over(pool, late)
    pool.world.crash(third)
    asks.submit(first, NEXT)
    pool.world.run(limits.REQUEST_DOUBTED_AFTER_MS + 60_000)
    pool.world.machines[late].chain = ChainView()
    pool.until(believes(pool, late))
    pool.until(lambda: leading(pool) == first, 60_000)
    assert isinstance(asks.reply(late, NEXT), Accepted)
