"""Stake that a provider's nodes need and that is not there, in the one wording for it.

A plan's wait, a step of the join, and a warning of `agent status` tell of the same slash: so they
tell it in the same words, and with the same command.
"""

from p2pool.codec.text.amounts import tokens_text
from p2pool.model.ids import Address

ADDING = "p2pool provider stake add"
"""The command by which the provider adds what is missing."""


def shortage_text(provider: Address, staked_wei: int, needed_wei: int) -> str | None:
    """What is missing for the nodes that a provider has, as the part of a sentence; None: nothing
    is."""
    missing_wei = needed_wei - staked_wei
    if missing_wei <= 0:
        return None
    return (
        f"the stake of the provider 0x{provider.hex()}, {tokens_text(staked_wei)}, is"
        f" {tokens_text(missing_wei)} less than its nodes need, as after a slash: nobody can"
        " validate them"
    )


def shortage_warning(provider: Address, staked_wei: int, needed_wei: int) -> str | None:
    """The same as sentences, with who adds it and how; None: nothing is missing."""
    told = shortage_text(provider, staked_wei, needed_wei)
    return None if told is None else f"{told[0].upper()}{told[1:]}. Its owner runs: {ADDING}."
