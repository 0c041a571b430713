"""Delegations: one account lets another act in its name."""

from enum import IntEnum

import attrs

from p2pool.model.field_bounds import AccountSignature
from p2pool.model.ids import Address


class Scope(IntEnum):
    """What a delegate may do; each includes the ones before it."""

    READ = 0
    SUBMIT = 1
    ADMIN = 2


@attrs.frozen
class Delegation:
    """A manager's or creator's statement that an account may act for it until `not_after_s`."""

    pool_id: int
    delegate: Address
    scope: Scope
    not_before_s: int
    not_after_s: int


@attrs.frozen
class SignedDelegation:
    """A delegation with its 65-byte signature."""

    delegation: Delegation
    signature: AccountSignature
