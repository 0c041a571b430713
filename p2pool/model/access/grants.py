"""A signed right to read a task's logs."""

import attrs

from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.features import since
from p2pool.model.field_bounds import AccountSignature
from p2pool.model.ids import Address


@attrs.frozen
class LogGrant:
    """A signed right to read the log lines of one task until `not_after_s`. `task` is hex."""

    pool_id: int
    task: str
    not_before_s: int
    not_after_s: int


@attrs.frozen
class SignedGrant:
    """A log grant with its signature and delegation, if any. The signature is a key's, or what
    `contract` takes for its own."""

    grant: LogGrant
    signature: AccountSignature
    delegation: SignedDelegation | None = None
    contract: Address | None = since(2, default=None)

    @property
    def by_contract(self) -> bool:
        """Whether only the chain can tell who signed: its signer is a contract, or its grantor."""
        given = self.delegation
        return self.contract is not None or (given is not None and given.contract is not None)
