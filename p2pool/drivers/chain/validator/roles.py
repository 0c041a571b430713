"""Which roles of the network an account holds.

Intuition: who may whitelist, validate and slash is a matter of roles that the network's contract
keeps. They are read before anything else, so that an account without the role costs a sentence and
no coin.

Invariants: a role that nobody could read is unknown, never held and never lacked.
Source: OpenZeppelin Contracts 5, `AccessControl`: a role is the hash of its name.
"""

from enum import StrEnum

import attrs
from eth_utils.crypto import keccak

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.provider.reads import gather, reading
from p2pool.model.errors import NotAllowed
from p2pool.model.ids import Address


class Role(StrEnum):
    """A role, by the name whose hash the contract knows it by."""

    VALIDATOR = "VALIDATOR_ROLE"
    FEDERATOR = "FEDERATOR_ROLE"

    @property
    def key(self) -> bytes:
        """As the contract asks for it."""
        return keccak(text=str(self))


async def holds_role(
    chain: PoolContracts, account: Address, role: Role, block: object = "latest"
) -> Reading[bool]:
    """Whether an account holds a role at a block: a number, "latest" or "finalized"."""
    asked = function("PrimeNetwork", "hasRole")
    call = chain.rpc.call
    return await reading(lambda: call(chain.at.network, asked, role.key, account, block=block))


@attrs.frozen
class Roles:
    """An account's roles at one block."""

    account: Address
    validator: Reading[bool]
    federator: Reading[bool]

    @classmethod
    async def of(cls, chain: PoolContracts, account: Address, block: object = "latest") -> "Roles":
        """Both, read at once."""
        found = await gather(
            lambda: holds_role(chain, account, Role.VALIDATOR, block),
            lambda: holds_role(chain, account, Role.FEDERATOR, block),
        )
        return cls(account, *found)

    def check_validator(self) -> None:
        """`NotAllowed` for an account that is no validator; `ChainUnavailable`: nobody says."""
        if self.validator.is_absent:
            raise NotAllowed(
                f"{address_text(self.account)} is no validator of this network: it lacks the role"
                f" {Role.VALIDATOR}. Nothing was sent.",
                hint="Use the key of an account that has the role, or ask the network's admin to"
                " grant it.",
            )

    def check_validator_or_federator(self) -> None:
        """`NotAllowed` for an account that is neither."""
        if self.validator.is_absent and self.federator.is_absent:
            raise NotAllowed(
                f"{address_text(self.account)} is neither validator nor federator of this network:"
                f" it lacks the roles {Role.VALIDATOR} and {Role.FEDERATOR}. Nothing was sent.",
                hint="Use the key of an account that has one of them, or ask the network's admin"
                " to grant it.",
            )
