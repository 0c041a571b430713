"""Amounts of coin and tokens as people write them: gwei for prices, whole tokens for stakes.

Exact both ways: no float ever holds an amount.
"""

import re

from p2pool.model import limits
from p2pool.model.errors import Malformed

GWEI = 10**9
TOKEN = 10**18
"""A token's smallest unit is a wei, as of the chain's own coin: eighteen places."""
_PLACES = 18
_TOKENS = re.compile(rf"(\d{{1,60}})(?:\.(\d{{1,{_PLACES}}}))?")


def gwei_text(wei: int) -> str:
    """A price per gas: as many places as it has, at most nine."""
    return f"{_decimal(wei, 9)} gwei"


def tokens_text(wei: int) -> str:
    """An amount of tokens, for people; none of its places is left out."""
    return f"{tokens_number(wei)} tokens"


def tokens_number(wei: int) -> str:
    """An amount of tokens as `parse_tokens` takes it."""
    return _decimal(wei, _PLACES)


def parse_tokens(text: str) -> int:
    """An amount in wei of "2.5"; `Malformed` for anything but a decimal number in range."""
    found = _TOKENS.fullmatch(text.strip())
    if found is None:
        raise Malformed(
            f"{text[:80]!r} is no amount of tokens.",
            hint="Write whole tokens, with at most 18 places: 1000 or 2.5.",
        )
    wei = int(found[1]) * TOKEN + int((found[2] or "0").ljust(_PLACES, "0"))
    if wei > limits.CHAIN_WORD_MAX:
        raise Malformed(f"{text[:80]!r} is more than a contract can hold.")
    return wei


def _decimal(units: int, places: int) -> str:
    whole, rest = divmod(units, 10**places)
    tail = f"{rest:0{places}}".rstrip("0")
    return f"{whole}.{tail}" if tail else str(whole)
