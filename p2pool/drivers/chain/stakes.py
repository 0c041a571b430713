"""What a provider has staked and has to, and how much of it an agent may stake by itself.

Intuition: stake is money, and a slash takes it. So an agent stakes no more than its owner said in
words, for whatever reason the contracts ask for more, and adds what a slash took only where its
owner said so too. What is missing is told by whoever finds it: the contracts refuse in the hands of
a validator who can do nothing about it.

Invariants: nothing here sends; an amount that nobody could read is not taken for none.
"""

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_number, tokens_text
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.ids import Address


@attrs.frozen
class StakePolicy:
    """What an agent may stake: `most_wei`, the provider's stake in all, None without a bound;
    `top_up`, whether also what a slash took."""

    most_wei: int | None = None
    top_up: bool = False

    @classmethod
    def said(cls, chain_id: int, most_wei: int | None, top_up: bool) -> "StakePolicy":
        """As an owner said it (None: nothing of a bound). Nothing is staked unasked, except on a
        development chain, where nothing is worth anything."""
        if most_wei is None and chain_id != DEVELOPMENT_CHAIN_ID:
            most_wei = 0
        return cls(most_wei, top_up)


@attrs.frozen
class Stake:
    """A provider's stake, and what it has to be for its nodes."""

    provider: Address
    staked_wei: int
    needed_wei: int

    def over(self, policy: StakePolicy) -> str | None:
        """Why an agent may not add what is missing, in a sentence; None: it may."""
        if policy.most_wei is None or self.needed_wei <= policy.most_wei:
            return None
        return (
            f"the provider {address_text(self.provider)} needs a stake of"
            f" {tokens_text(self.needed_wei)} for this node and has {tokens_text(self.staked_wei)};"
            f" this agent may stake {tokens_text(policy.most_wei)} at most"
        )

    def whom(self) -> str:
        """Who can allow and add it."""
        return f"its provider {address_text(self.provider)}"

    def allowing(self) -> str:
        """The command by which its owner allows it."""
        return f"p2pool agent run --stake-max {tokens_number(self.needed_wei)}"
