"""What an owner has said about stake, and the question where nobody has said it.

Intuition: stake is money, and a slash takes it; how much of it a call takes is read from contracts
that others wrote. So what moves tokens into stake needs a bound that its owner named, or a yes to
the amount, as an agent does (`StakePolicy`). `--stake-max` is such a bound, and so is an amount
that the command line names itself: who typed "a stake of 5" has agreed to 5, and to no more.
"""

from typing import TYPE_CHECKING

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_number, tokens_text
from p2pool.model.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pool.drivers.chain.provider.plan import Call
    from p2pool.model.ids import Address


@attrs.frozen
class StakeWord:
    """What an owner said: `most_wei`, what the stake may come to in all (None: nothing of it), and
    whether they said yes to whatever it is."""

    most_wei: int | None = None
    yes: bool = False

    @classmethod
    def of(cls, stake_max_wei: int | None, yes: bool, named_wei: int | None = None) -> "StakeWord":
        """By options; `named_wei`: the stake that the command line asks for."""
        return cls(named_wei if stake_max_wei is None else stake_max_wei, yes)


NOTHING_SAID = StakeWord()


@attrs.frozen
class StakeQuestion:
    """An amount that nobody allowed: what is added, and what the stake comes to in all."""

    account: "Address"
    added_wei: int
    total_wei: int

    def text(self) -> str:
        """In a sentence."""
        return (
            f"{address_text(self.account)} would stake {tokens_text(self.added_wei)}, and its stake"
            f" would come to {tokens_text(self.total_wei)} in all: nobody has allowed that."
        )

    def refusal(self) -> NotAllowed:
        """Where nobody can be asked."""
        number = tokens_number(self.total_wei)
        return NotAllowed(self.text(), hint=f"Allow it: --stake-max {number}, or --yes.")


def stake_question(
    calls: "Sequence[Call]", account: "Address", chain_id: int, word: StakeWord
) -> StakeQuestion | None:
    """The question before calls are sent; None: they stake nothing, or what was allowed."""
    from p2pool.drivers.chain.stakes import StakePolicy

    staking = [call for call in calls if call.stake_wei]
    most_wei = StakePolicy.said(chain_id, word.most_wei, False).most_wei
    if not staking or word.yes or most_wei is None:
        return None
    total_wei = max(call.stake_wei for call in staking)
    if total_wei <= most_wei:
        return None
    return StakeQuestion(account, sum(call.tokens_wei for call in staking), total_wei)
