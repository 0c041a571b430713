"""Amounts are exact both ways, whichever way people write them."""

import pytest

from p2pool.codec.text.amounts import (
    amount_or_unknown,
    coin_text,
    gwei_text,
    parse_tokens,
    tokens_number,
    tokens_text,
)
from p2pool.model.errors import Malformed


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("1000", 10**21),
        ("2.5", 25 * 10**17),
        ("0.000000000000000001", 1),
        (" 0 ", 0),
        ("1.0", 10**18),
        ("7wei", 7),
        (" 300 wei ", 300),
    ],
)
def test_amounts_are_exact_both_ways(text: str, wei: int) -> None:
    """No float is in between."""
    assert parse_tokens(text) == wei
    assert parse_tokens(tokens_number(wei)) == wei
    assert tokens_text(wei) == f"{tokens_number(wei)} tokens"


@pytest.mark.parametrize(
    "text",
    [
        *("", "much", "1e3", "-1", "1,5", ".5", "5.", "0.1wei", "1_0", "\u0661"),
        *("1" * 61, "0." + "1" * 19, f"{2**256}wei"),
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Said so, instead of staking something else."""
    with pytest.raises(Malformed):
        parse_tokens(text)


def test_what_is_no_amount_says_how_one_is_written() -> None:
    """Both ways of writing one."""
    with pytest.raises(Malformed) as refused:
        parse_tokens("much")
    assert "2.5" in refused.value.hint
    assert "300wei" in refused.value.hint


def test_coin_and_prices_have_their_units() -> None:
    """None of their places is left out; what nobody knows is no zero."""
    assert coin_text(10**17) == "0.1 coin"
    assert amount_or_unknown("1", "coin") == "0.000000000000000001 coin"
    assert amount_or_unknown(None) == "unknown"
    assert gwei_text(1_500_000_001) == "1.500000001 gwei"
