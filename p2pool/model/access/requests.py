"""Requests that accounts sign and send to a pool."""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.access.delegations import SignedDelegation
from p2pool.model.features import since
from p2pool.model.field_bounds import AccountSignature, bounded
from p2pool.model.ids import DIGEST_BYTES, Address


class Action(StrEnum):
    """The action of a signed request. Accounts sign the value, and wallets show it."""

    SUBMIT = "submit"
    STOP = "stop"
    DRAIN = "drain"
    RESUME = "resume"
    BAN = "ban"
    UNBAN = "unban"
    SET = "set"
    REVOKE = "revoke"
    SET_SECRET = "set-secret"


RequestId = Annotated[bytes, bounded(exact_bytes=DIGEST_BYTES)]
"""32 random bytes that make a request single-use."""


@attrs.frozen
class TaskRequest:
    """The typed data that an account signs. Times are Unix seconds.

    `target`: empty for submit; the task id in hex for stop and set-secret; the node id in hex for
    drain, resume, ban, unban; the setting's name for set; the delegate's address in hex for revoke.
    `request_id`: 32 random bytes that make the request single-use.
    """

    action: Action
    pool_id: int
    target: str
    spec_json: Annotated[str, bounded(text=limits.SPEC_JSON_MAX_BYTES)]
    request_id: RequestId
    not_before_s: int
    not_after_s: int


@attrs.frozen
class SignedRequest:
    """A request with its signature, and its delegation, if any.

    The signature is a key's, 65 bytes, or what `contract`, an account without a key, takes for its
    own (ERC-1271).
    """

    request: TaskRequest
    signature: AccountSignature
    delegation: SignedDelegation | None = None
    contract: Address | None = since(2, default=None)

    @property
    def by_contract(self) -> bool:
        """Whether only the chain can tell who signed: its signer is a contract, or its grantor."""
        given = self.delegation
        return self.contract is not None or (given is not None and given.contract is not None)


@attrs.frozen
class Signers:
    """Who signed a request or grant, as recovered (`wire.typed_data`), and on whose behalf:
    `grantor` signed its delegation, None without one. Of what is signed `by_contract` this is a
    claim until the chain has said so (`access.verdicts`)."""

    signer: Address
    grantor: Address | None = None

    @property
    def principal(self) -> Address:
        """The account whose rights count: the grantor's if there is a delegation."""
        return self.signer if self.grantor is None else self.grantor
