"""What the chain says of contract accounts that are said to have signed something (ERC-1271).

A key's signature tells everybody who signed. A contract has no key: its code judges bytes, at one
block so and at another otherwise. So a judgement counts with the block at which it was made, and
only at one that is final. Not to know is a judgement of its own, and never a yes.
"""

from enum import Enum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import Address, Digest


class Validity(Enum):
    """What the chain made of a signature."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@attrs.frozen
class FinalBlock:
    """A finalized block of the chain, by height and hash."""

    number: Annotated[int, bounded(number=limits.CHAIN_NUMBER_MAX)]
    block_hash: Digest


@attrs.frozen
class Verdict:
    """What the chain made of all contract signatures under one statement, and why it is no yes.
    `block`: where it was asked, if anywhere; `block_time_ms`: that block's time."""

    validity: Validity
    reason: str = ""
    block: FinalBlock | None = None
    block_time_ms: int = 0


@attrs.frozen
class ContractSignature:
    """What `isValidSignature` of a contract is asked: whether these bytes sign this digest."""

    contract: Address
    digest: Digest
    signature: bytes = attrs.field(repr=False)
