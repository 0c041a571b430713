"""Whom a join waits for that was refused, and the one command which that person runs.

Intuition: a refusal says what is wrong, and somebody can mend it: who sends coin, who ends a pause,
who chooses another pool. So each cause is a person and a command here, and everything that nobody
knows is its operator's, whose checks say more.
"""

from collections.abc import Mapping

import attrs

from p2pool.drivers.chain.provider.entry_plans import Closed
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import cause_of
from p2pool.drivers.chain.transactions.writer import CannotPay
from p2pool.model.errors import P2poolError

POOR = "CannotPay"


@attrs.frozen
class Mending:
    """Who mends a refusal, and by which command; empty: none does it. `{provider}` and `{token}`
    are put in."""

    whom: str
    command: str = ""


OPERATOR = Mending("its operator", "p2pool agent check")
MENDINGS: Mapping[str, Mending] = {
    POOR: Mending(
        "whoever sends the provider {provider} some of the chain's own coin",
        "cast send {provider} --value 0.01ether",
    ),
    "ERC20InsufficientBalance": Mending(
        "whoever sends the provider {provider} tokens",
        "cast send {token} 'transfer(address,uint256)' {provider} AMOUNT",
    ),
    "EnforcedPause": Mending("the owner of the contracts, who ends the pause"),
    "NoSuchPool": Mending("its operator, who names another pool", "p2pool agent init --pool POOL"),
    "ProviderBlacklistedHere": Mending(
        "its operator, who chooses another pool", "p2pool agent init --pool POOL"
    ),
    "NodeBlacklistedHere": Mending("its operator, who makes a new node key", "p2pool node rekey"),
    "NodeExists": Mending(
        "its operator, who names that provider's key or makes a new node key", "p2pool node rekey"
    ),
}
"""By the causes of `refusals.SENTENCES`, and of an account that cannot pay."""


def mending_of(error: P2poolError, provider: str, token: str) -> Mending:
    """Who mends a refusal, and how."""
    found = MENDINGS.get(_cause(error), OPERATOR)
    command = found.command.format(provider=provider, token=token)
    return Mending(found.whom.format(provider=provider), command)


def _cause(error: P2poolError) -> str:
    if isinstance(error, Closed):
        return error.cause
    if isinstance(error, CannotPay):
        return POOR
    return cause_of(error.__cause__) if isinstance(error.__cause__, Reverted) else ""
