"""What the pool knows of its delegates follows its tasks: who holds what, in order, in pages."""

import random

import attrs
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.model import limits
from p2pool.model.access.delegates import Delegates, Grant, GrantPlace
from p2pool.model.access.delegations import Quota
from p2pool.model.access.requests import Action
from p2pool.model.ids import Address, TaskId
from p2pool.model.states import AllocationState
from tests.core.fsm.access.delegated import CREATOR, FRIEND, OTHER_FRIEND, Delegated, given
from tests.core.fsm.records import MANAGER

S = AllocationState


def _grants(pool: Delegated) -> list[Grant]:
    return list(pool.state.delegates.behind(None))


def test_a_delegation_is_known_by_its_tasks() -> None:
    """It appears with its first task, counts them, and goes when the last is forgotten."""
    pool = Delegated()
    under = given(Quota(max_gpus=4))
    assert _grants(pool) == []
    first, second = pool.submit(under), pool.submit(under)
    pool.submit(None)
    (only,) = _grants(pool)
    assert (only.delegation, only.tasks, only.tasks_ended) == (under, 2, 0)
    assert (only.place.delegate, only.place.grantor) == (FRIEND, MANAGER)
    pool.ask(Action.STOP, first.hex())
    (only,) = _grants(pool)
    assert (only.tasks, only.tasks_ended) == (1, 1)
    pool.ask(Action.STOP, second.hex())
    for name in (first, second):
        pool.state.drop_task(name)
    assert _grants(pool) == []
    assert pool.state.delegates.tasks_of(FRIEND) == ()


def test_each_delegation_has_a_row_of_its_own() -> None:
    """Of one account, by several grantors, under several limits; and each account by itself."""
    pool = Delegated()
    pool.submit(given())
    pool.submit(given(Quota(max_gpus=1)))
    pool.submit(given(), CREATOR)
    pool.submit(given(delegate=OTHER_FRIEND))
    rows = _grants(pool)
    assert len(rows) == len({row.place for row in rows}) == 4
    assert rows == sorted(rows, key=lambda row: row.place)
    mine = list(pool.state.delegates.of_account(FRIEND))
    assert mine == rows[:3]
    assert {row.place.grantor for row in mine} == {MANAGER, CREATOR}
    assert len(pool.state.delegates) == 4


def test_who_was_revoked_is_told_without_tasks_too() -> None:
    """In order among the others, once."""
    pool = Delegated()
    pool.submit(given(delegate=OTHER_FRIEND))
    accounts = [Address(bytes([n]) * 20) for n in (1, ord("f"), 200)]
    for account in (*accounts, accounts[0], OTHER_FRIEND):
        pool.revoke(account)
    rows = _grants(pool)
    assert [row.place.delegate for row in rows] == [*accounts[:2], OTHER_FRIEND, accounts[2]]
    assert [row.delegation is None for row in rows] == [True, True, False, True]
    assert list(pool.state.delegates.of_account(accounts[2])) == [rows[3]]
    assert list(pool.state.delegates.of_account(Address(bytes(20)))) == []


@settings(max_examples=60)
@cases(seed=st.integers(0, 2**32))
def test_pages_show_each_row_once(seed: int) -> None:
    """From any row on, `behind` gives the rows after it, whatever came and went."""
    rng = random.Random(seed)
    pool, names = Delegated(), []
    for _ in range(20):
        what = rng.randrange(4)
        account = Address(bytes([rng.randrange(6)]) * 20)
        if what < 2:
            quota = Quota(max_gpus=rng.randrange(3)) if rng.random() < 0.5 else None
            under = given(quota, delegate=account)
            names.append(pool.submit(under, rng.choice((MANAGER, CREATOR))))
        elif what == 2 and names:
            pool.ask(Action.STOP, rng.choice(names).hex())
        else:
            pool.revoke(account)
    rows = _grants(pool)
    assert rows == sorted(rows, key=lambda row: row.place)
    for at, row in enumerate(rows):
        assert list(pool.state.delegates.behind(row.place)) == rows[at + 1 :]
    for account in {row.place.delegate for row in rows}:
        mine = [row for row in rows if row.place.delegate == account]
        assert list(pool.state.delegates.of_account(account)) == mine
    read = decode_state(encode_state(pool.state))
    assert list(read.delegates.behind(None)) == rows
    live = sum(not task.finished for task in pool.state.tasks.values())
    assert sum(row.tasks for row in rows) == live


def test_a_place_between_rows_is_one_too() -> None:
    """The row of a page's end may be gone when the next page is read."""
    pool = Delegated()
    first = pool.submit(given())
    pool.submit(given(delegate=OTHER_FRIEND))
    gone, rest = _grants(pool)
    pool.ask(Action.STOP, first.hex())
    pool.state.drop_task(first)
    assert list(pool.state.delegates.behind(gone.place)) == [rest]


def test_a_change_costs_what_changed() -> None:
    """Thousands of tasks of a delegate make none of them dearer: nothing is walked."""

    class Watched(dict[TaskId, None]):
        looks = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            Watched.looks += 1
            return super().__iter__()

    book, place = Delegates(), GrantPlace(FRIEND, MANAGER, b"12345678")
    for number in range(limits.TASKS_MAX):
        book.put_task(TaskId(number.to_bytes(16, "big")), place, given(), finished=False)
    mine = book._tasks
    mine[FRIEND] = Watched(mine[FRIEND])
    count = book._counts[place]
    book._counts[place] = attrs.evolve(count, live=Watched(count.live))
    name = TaskId(bytes(16))
    book.put_task(name, place, given(), finished=True)
    book.drop_task(name)
    (row,) = book.behind(None)
    assert (row.tasks, row.tasks_ended) == (limits.TASKS_MAX - 1, 0)
    assert Watched.looks == 0
