"""Delegations: one account lets another act in its name, within a quota."""

from enum import IntEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import since
from p2pool.model.field_bounds import AccountSignature, bounded
from p2pool.model.ids import Address, PoolRef

QuotaNumber = Annotated[int, bounded(number=limits.QUOTA_NUMBER_MAX)]
"""How much of something a delegate may use at once."""


class Scope(IntEnum):
    """What a delegate may do; each includes the ones before it."""

    READ = 0
    SUBMIT = 1
    ADMIN = 2


@attrs.frozen
class Quota:
    """What a delegate's tasks may use at once, all together; None: no limit.

    `max_replicas`: placed copies. `max_priority`: the highest that a task may ask for.
    `name_prefix`: how the name of each task begins.
    """

    max_gpus: QuotaNumber | None = None
    max_cpu_milli: QuotaNumber | None = None
    max_replicas: QuotaNumber | None = None
    max_priority: Annotated[int, bounded(number=limits.PRIORITY_MAX)] | None = None
    name_prefix: Annotated[str, bounded(text=limits.TASK_NAME_MAX_BYTES)] | None = None


@attrs.frozen
class Delegation:
    """A manager's or creator's statement that an account may act for it until `not_after_s`.
    Without a quota it is limited only by its scope."""

    pool_id: int
    delegate: Address
    scope: Scope
    not_before_s: int
    not_after_s: int
    quota: Quota | None = since(2, default=None)


@attrs.frozen
class SignedDelegation:
    """A delegation with its signature: a key's, 65 bytes, or what `contract` takes for its own."""

    delegation: Delegation
    signature: AccountSignature
    contract: Address | None = since(2, default=None)


@attrs.frozen
class DelegationFile:
    """A delegation as it is handed to the delegate: for which pool, and who says it gave it. Its
    signature tells whether that is so (`wire.typed_data.check_delegation_file`)."""

    pool: PoolRef
    grantor: Address
    signed: SignedDelegation
