"""Who is a validator, the chain says; strangers make us ask no more than their budgets allow."""

import pytest

from p2pool.core.effects import ReadValidatorRole
from p2pool.core.knowledge.validator_roles import ValidatorRoles
from p2pool.model import limits
from p2pool.model.ids import Address
from p2pool.model.timing import Now

ONE, PEER = Address(b"\x01" * 20), b"peer"


def at(ms: int) -> Now:
    return Now(ms, 1_800_000_000_000 + ms)


def account(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def test_the_chain_is_asked_once_and_again_in_time() -> None:
    """Unknown until it answered; a no is looked up again later, a yes too, and stays meanwhile."""
    roles = ValidatorRoles()
    assert roles.holds(ONE, at(0), PEER) is None
    assert roles.holds(ONE, at(1), PEER) is None
    assert roles.take() == [ReadValidatorRole(ONE)]
    roles.on_read(ONE, False, at(2))
    assert roles.holds(ONE, at(3), PEER) is False
    later = limits.VALIDATOR_ROLE_KEPT_MS + 10
    assert roles.holds(ONE, at(later), PEER) is None
    roles.on_read(ONE, True, at(later))
    assert roles.knows(ONE)
    assert roles.take() == [ReadValidatorRole(ONE)]
    assert roles.holds(ONE, at(2 * later), PEER) is True
    assert roles.take() == [ReadValidatorRole(ONE)]
    roles.on_read(ONE, None, at(2 * later + 1))  # No endpoint answers: it stays a validator.
    assert roles.holds(ONE, at(2 * later + 2), PEER) is True
    roles.on_read(ONE, False, at(2 * later + 3))
    assert roles.holds(ONE, at(2 * later + 4), PEER) is False


def test_a_question_that_is_lost_or_in_vain_is_asked_again() -> None:
    """After a while, and not at once."""
    roles = ValidatorRoles()
    roles.holds(ONE, at(0), PEER)
    roles.holds(ONE, at(limits.VALIDATOR_ROLE_ASKED_MAX_MS), PEER)
    assert len(roles.take()) == 2
    roles.on_read(ONE, None, at(limits.VALIDATOR_ROLE_ASKED_MAX_MS + 1))
    soon = limits.VALIDATOR_ROLE_ASKED_MAX_MS + 2
    assert roles.holds(ONE, at(soon), PEER) is None
    assert roles.take() == []
    assert roles.holds(ONE, at(soon + limits.VALIDATOR_ROLE_AGAIN_MS), PEER) is None
    assert len(roles.take()) == 1


@pytest.mark.parametrize("guests", [1, 100])
def test_strangers_make_us_ask_as_much_as_their_budget_gives(guests: int) -> None:
    """One stranger has its own, a hundred have no more together than all guests."""
    roles = ValidatorRoles()
    for number in range(1_000):
        peer = bytes([number % guests])
        roles.holds(account(number), at(0), peer, guest=True)
    most = limits.ROLE_ASKS_BURST if guests == 1 else limits.GUESTS_ROLE_ASKS_BURST
    assert len(roles.take()) == most


def test_no_number_of_strangers_pushes_a_validator_out() -> None:
    """What is known of those that hold no role lies apart."""
    roles = ValidatorRoles()
    roles.on_read(ONE, True, at(0))
    for number in range(2, limits.VALIDATOR_ROLES_KEPT_MAX + 10):
        roles.on_read(account(number), False, at(0))
    assert roles.holds(ONE, at(1), PEER) is True
    assert len(roles.others) == limits.VALIDATOR_ROLES_KEPT_MAX
