"""What signs here signs as eth-account does, byte for byte; hashes are the library's."""

import random
import sys

import pytest
from coincurve.utils import GROUP_ORDER_INT
from eth_account import Account as EthAccount
from eth_account.messages import encode_defunct, encode_typed_data

from p2pool.model.access.requests import Action, TaskRequest
from p2pool.wire import eip712, keccak, typed_data
from p2pool.wire.account import Account, sign_hash
from tests.wire.samples import POOL

CHANCE = random.Random(1)


@pytest.mark.parametrize("length", [0, 1, 31, 135, 136, 137, 271, 272, 1000])
def test_the_hash_is_keccak(length: int) -> None:
    """Written out and by the library, around each end of a block."""
    data = CHANCE.randbytes(length)
    wanted = keccak.load().new(digest_bits=256, data=data).digest()
    assert keccak.written_out(data) == keccak.keccak(data) == wanted


def test_known_hashes() -> None:
    """Of nothing, and of the best known event."""
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak.written_out(b"").hex() == empty
    transfer = keccak.written_out(b"Transfer(address,address,uint256)").hex()
    assert transfer == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def test_only_long_data_loads_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that hashes a request does not pay for it."""
    library, loaded = keccak.load(), list[int]()

    def load() -> object:
        loaded.append(1)
        return library

    monkeypatch.delitem(sys.modules, "Crypto.Hash.keccak")
    monkeypatch.setattr(keccak, "load", load)
    assert keccak.keccak(b"short") == keccak.written_out(b"short")
    assert loaded == []
    assert keccak.keccak(b"x" * 20_000) == keccak.written_out(b"x" * 20_000)
    assert loaded == [1]


def test_accounts_and_signatures_are_those_of_eth_account() -> None:
    """Address, typed data and personal messages, for many keys and both kinds of account."""
    for number in range(40):
        key = CHANCE.randrange(1, GROUP_ORDER_INT).to_bytes(32, "big")
        ours, theirs = Account(key), EthAccount.from_key(key)
        assert ours.address == theirs.address.lower()
        request = TaskRequest(
            Action.SUBMIT, POOL.pool_id, "", '{"image":"é"}', CHANCE.randbytes(32), number, 2000
        )
        message = typed_data.request_typed_data(POOL, request)
        signable = encode_typed_data(full_message=message)
        wanted = bytes(theirs.sign_message(signable).signature)
        for account in (ours, theirs):
            assert typed_data.sign_request(POOL, account, request).signature == wanted
        assert eip712.recover(eip712.typed_digest(message), wanted).hex() == ours.address[2:]
        hashed = keccak.keccak(b"\x19Ethereum Signed Message:\n32" + request.request_id)
        signed = theirs.sign_message(encode_defunct(primitive=request.request_id))
        assert sign_hash(ours, hashed) == bytes(signed.signature)


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"k" * 31, b"k" * 33])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    """Zero, too large, too short, too long; and nothing prints one."""
    with pytest.raises(ValueError):
        Account(key)
    assert "6b6b" not in repr(Account(b"k" * 32))
