"""A signed right to read a task's logs."""

import attrs

from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.field_bounds import AccountSignature


@attrs.frozen
class LogGrant:
    """A signed right to read the log lines of one task until `not_after_s`. `task` is hex."""

    pool_id: int
    task: str
    not_before_s: int
    not_after_s: int


@attrs.frozen
class SignedGrant:
    """A log grant with its signature and delegation, if any."""

    grant: LogGrant
    signature: AccountSignature
    delegation: SignedDelegation | None = None
