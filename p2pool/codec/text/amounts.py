"""Amounts of coin and tokens as people write them: gwei for prices, whole tokens for stakes.

Intuition: the chain counts in wei, people in tokens; only here is one made of the other.

Invariants: exact both ways, since no float ever holds an amount; what is written for people is read
back as the same number of wei.
"""

import re

from p2pool.model import limits
from p2pool.model.errors import Malformed

GWEI = 10**9
TOKEN = 10**18
"""A token's smallest unit is a wei, as of the chain's own coin: eighteen places."""
_PLACES = 18
_TOKENS = re.compile(rf"([0-9]{{1,60}})(?:\.([0-9]{{1,{_PLACES}}}))?")
_WEI = re.compile(r"([0-9]{1,78}) ?wei")


def gwei_text(wei: int) -> str:
    """A price per gas: as many places as it has, at most nine."""
    return f"{_decimal(wei, 9)} gwei"


def coin_text(wei: int, unit: str = "coin") -> str:
    """An amount of the chain's coin, or of another unit with as many places, for people; none of
    its places is left out."""
    return f"{tokens_number(wei)} {unit}"


def tokens_text(wei: int) -> str:
    """An amount of the staked token, for people."""
    return coin_text(wei, "tokens")


def amount_or_unknown(wei: int | str | None, unit: str = "tokens") -> str:
    """An amount, or that nobody knows it."""
    return "unknown" if wei is None else coin_text(int(wei), unit)


def tokens_number(wei: int) -> str:
    """An amount of tokens as `parse_tokens` takes it."""
    return _decimal(wei, _PLACES)


def parse_tokens(text: str) -> int:
    """Wei of `2.5` (tokens) or `300wei`; `Malformed` for anything else, and for what is out of
    range."""
    text = text.strip()
    if (found := _WEI.fullmatch(text)) is not None:
        wei = int(found[1])
    elif (found := _TOKENS.fullmatch(text)) is not None:
        wei = int(found[1]) * TOKEN + int((found[2] or "0").ljust(_PLACES, "0"))
    else:
        raise Malformed(
            f"{text[:64]!r} is not an amount.",
            hint=f"Write tokens, with up to {_PLACES} decimals (2.5), or wei (300wei).",
        )
    if wei > limits.CHAIN_WORD_MAX:
        raise Malformed(f"{text[:64]!r} is more than a contract can hold.")
    return wei


def _decimal(units: int, places: int) -> str:
    whole, rest = divmod(units, 10**places)
    tail = f"{rest:0{places}}".rstrip("0")
    return f"{whole}.{tail}" if tail else str(whole)
