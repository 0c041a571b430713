"""Transactions signed here are those of eth-account, byte for byte, and are read strictly."""

import random
from typing import Any

import pytest
from coincurve.utils import GROUP_ORDER_INT
from eth_account import Account as EthAccount

from p2pool.wire.account import Account
from p2pool.wire.evm import rlp, transactions
from p2pool.wire.evm.key_signer import KeySigner, personal_digest, signer_of
from p2pool.wire.keccak import keccak

CHANCE = random.Random(1)


def transaction(*, dynamic: bool, to: bool = True, size: int = 68) -> dict[str, Any]:
    """One of either kind with numbers at the edges of their encodings."""
    made: dict[str, Any] = {
        "chainId": CHANCE.choice([1, 31_337, 8453, 2**40]),
        "nonce": CHANCE.choice([0, 1, 127, 128, 70_000]),
        "gas": CHANCE.randrange(21_000, 10**7),
        "value": CHANCE.choice([0, 1, 10**20]),
        "data": CHANCE.randbytes(size),
    }
    if to:
        made["to"] = CHANCE.randbytes(20)
    if dynamic:
        return made | {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": CHANCE.choice([0, 10**9])}
    return made | {"gasPrice": CHANCE.choice([0, 1, 10**12])}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("to", [False, True])
@pytest.mark.parametrize("size", [0, 1, 55, 56, 300, 70_000])
def test_a_signed_transaction_is_that_of_eth_account(dynamic: bool, to: bool, size: int) -> None:
    """Of both kinds, calls and deployments, around each form of a length."""
    for _ in range(6):
        key = CHANCE.randrange(1, GROUP_ORDER_INT).to_bytes(32, "big")
        asked = transaction(dynamic=dynamic, to=to, size=size)
        ours = KeySigner(Account(key)).sign_transaction(asked)
        theirs = EthAccount.from_key(key).sign_transaction(asked)
        assert ours.raw_transaction == bytes(theirs.raw_transaction)
        assert ours.hash == bytes(theirs.hash)
        found = transactions.signature_in(ours.raw_transaction)
        assert transactions.with_signature(asked, found) == ours


def test_an_address_may_be_text() -> None:
    """As programs hand it on that took it from JSON."""
    asked = transaction(dynamic=True)
    as_text = asked | {"to": "0x" + asked["to"].hex(), "data": "0x" + asked["data"].hex()}
    signer = KeySigner(Account(b"k" * 32))
    assert signer.sign_transaction(as_text) == signer.sign_transaction(asked)


@pytest.mark.parametrize(
    "wrong", [{"gasLimit": 1}, {"accessList": [("0x", ())]}, {"to": b"x" * 19}]
)
def test_a_field_that_is_not_known_is_our_bug(wrong: dict[str, Any]) -> None:
    """Nothing that somebody meant to be signed is left out."""
    with pytest.raises(AssertionError):
        transactions.transaction_digest(transaction(dynamic=False) | wrong)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\x01",  # A byte that needs no head.
        b"\xb8\x01x",  # A short text with a long head.
        b"\xb9\x00\x38" + b"x" * 56,  # A length with a zero in front.
        b"\x83ab",  # Breaks off.
        b"\x01\x02",  # Two items.
        b"\xc2\x83a",  # An item that is longer than its list.
        b"\xc1" * 20,  # Too deep, and broken.
    ],
)
def test_rlp_has_one_form(data: bytes) -> None:
    """As nodes of the chain read it."""
    with pytest.raises(ValueError):
        rlp.decode(data)


def test_rlp_comes_back() -> None:
    """What is written is read."""
    item: rlp.Item = [
        b"",
        b"\x00",
        b"\x7f",
        b"\x80",
        b"x" * 55,
        b"y" * 56,
        [b"in", [b"deeper"]],
        [],
    ]
    assert rlp.decode(rlp.encode(item)) == item
    with pytest.raises(ValueError, match="no signed transaction"):
        transactions.signature_in(rlp.encode(item))


def test_a_key_of_either_library_signs_alike() -> None:
    """`signer_of` takes both, and a signer as it is; nothing prints the key."""
    ours, theirs = signer_of(Account(b"k" * 32)), signer_of(EthAccount.from_key(b"k" * 32))
    assert (ours.address, signer_of(ours)) == (theirs.address, ours)
    assert ours.sign_personal(b"text") == theirs.sign_personal(b"text")
    assert personal_digest(b"abc") == keccak(b"\x19Ethereum Signed Message:\n3abc")
    assert "6b6b" not in repr(ours)
