"""Amounts and dates as people read and write them; imports nothing that takes time to load.

Amounts are whole numbers of wei everywhere; only here are they decimals, exact both ways.
"""

import re
from datetime import UTC, datetime

from p2pool.model import limits
from p2pool.model.errors import Malformed

DECIMALS = 18
"""Of the chain's coin, and of the token that providers stake."""
_AMOUNT = re.compile(rf"([0-9]{{1,60}})(?:\.([0-9]{{1,{DECIMALS}}}))?")
_WEI = re.compile(r"([0-9]{1,78}) ?wei")


def coin_text(wei: int, unit: str) -> str:
    """An amount for people: its decimals as far as they go, and the unit."""
    whole, rest = divmod(wei, 10**DECIMALS)
    digits = f"{rest:0{DECIMALS}d}".rstrip("0")
    return f"{whole}{'.' + digits if digits else ''} {unit}"


def tokens(wei: int) -> str:
    """An amount of the staked token."""
    return coin_text(wei, "tokens")


def amount_or_unknown(wei: int | str | None, unit: str = "tokens") -> str:
    """An amount, or that nobody knows it."""
    return "unknown" if wei is None else coin_text(int(wei), unit)


def parse_amount(text: str) -> int:
    """Wei of `2.5` (tokens) or `300wei`; `Malformed` says what is wrong."""
    text = text.strip()
    if (found := _WEI.fullmatch(text)) is not None:
        wei = int(found[1])
    elif (found := _AMOUNT.fullmatch(text)) is not None:
        wei = int(found[1]) * 10**DECIMALS + int((found[2] or "0").ljust(DECIMALS, "0"))
    else:
        raise Malformed(
            f"{text[:64]!r} is not an amount.",
            hint=f"Write tokens, with up to {DECIMALS} decimals (2.5), or wei (300wei).",
        )
    if wei > limits.CHAIN_WORD_MAX:
        raise Malformed(f"{text[:64]!r} is more than a contract can hold.")
    return wei


def utc(at_s: int) -> str:
    """A time for people."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at_s} s after 1970"
