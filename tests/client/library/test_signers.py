"""Who signs: keys, and whatever else gives a signature, in every form that wallets have."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from p2pool.client.library.signers import KeySigner, delegation_of, plain, raw_of, signature_of
from p2pool.client.requests import grant_for, request_for
from p2pool.codec.json.delegations import delegation_file_json
from p2pool.model.access.delegations import Delegation, DelegationFile, Quota, Scope
from p2pool.model.access.requests import Action
from p2pool.model.errors import BadKey, BadSignature, Misconfigured
from p2pool.model.ids import Address
from p2pool.wire import eip712, typed_data
from tests.wire.samples import ACCOUNT, POOL

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TYPED = [
    typed_data.request_typed_data(POOL, request_for(POOL, Action.STOP, "ab" * 16)),
    typed_data.grant_typed_data(POOL, grant_for(POOL, "ab" * 16)),
]


@pytest.mark.parametrize("data", TYPED, ids=lambda one: str(one["primaryType"]))
def test_a_wallet_signs_what_a_signer_gets(data: dict[str, Any]) -> None:
    """Typed data goes through JSON, as to a browser, and eth-account gives our own signature."""
    given = json.loads(json.dumps(plain(data)))
    assert raw_of(given) == data
    wallet = Account.sign_message(encode_typed_data(full_message=given), ACCOUNT.key)
    assert KeySigner(bytes(ACCOUNT.key))(given) == signature_of(wallet.signature)
    assert KeySigner("0x" + bytes(ACCOUNT.key).hex()).address == ACCOUNT.address.lower()


def test_the_forms_of_a_signature() -> None:
    """Hex or bytes, v from 0 or from 27, either s: all become the one that pools take."""
    digest = eip712.typed_digest(TYPED[0])
    good = eip712.sign_digest(ACCOUNT, digest)
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    upper = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    forms = (good.hex(), "0x" + good.hex(), bytearray(good), good[:64] + bytes([v - 27]), upper)
    assert [signature_of(one) for one in forms] == [good] * len(forms)
    long = b"\x01" * 200
    assert signature_of(long) == long
    for wrong in (None, 5, "", b"", "0xzz", b"\x01" * 100_000):
        with pytest.raises(BadSignature):
            signature_of(wrong)


def test_a_key_is_shown_to_nobody() -> None:
    """Neither by its signer nor by an error about it."""
    signer = KeySigner(bytes(ACCOUNT.key))
    assert bytes(ACCOUNT.key).hex() not in repr(signer) + str(vars(type(signer)))
    for wrong in ("12", b"", b"\0" * 32, "zz" * 32, "ff" * 32):
        with pytest.raises(BadKey) as failed:
            KeySigner(wrong)
        assert str(wrong) not in str(failed.value)


def test_keystores_of_wallets_are_opened(tmp_path: Path) -> None:
    """As the commands open them."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(ACCOUNT.key, "s", kdf="pbkdf2", iterations=1)))
    assert KeySigner.from_keystore(path, "s").address == ACCOUNT.address.lower()
    for name, secret in ((path, "t"), (tmp_path / "none.json", "s"), (tmp_path, "s")):
        with pytest.raises(BadKey):
            KeySigner.from_keystore(name, secret)
    path.write_text("{}")
    with pytest.raises(BadKey, match="not a version 3"):
        KeySigner.from_keystore(path, "s")


def granted(**other: Any) -> DelegationFile:
    """A delegation by the sample account."""
    values = {"pool_id": POOL.pool_id, "delegate": Address(b"\x07" * 20), "scope": Scope.SUBMIT}
    values |= {"not_before_s": 1, "not_after_s": 2**33, "quota": Quota(max_replicas=2)}
    signed = typed_data.sign_delegation(POOL, ACCOUNT, Delegation(**{**values, **other}))
    return DelegationFile(POOL, Address(bytes.fromhex(ACCOUNT.address[2:])), signed)


def test_a_delegation_comes_from_its_file(tmp_path: Path) -> None:
    """Checked when it is read: whose it is, and that nobody changed it."""
    path = tmp_path / "delegation.json"
    path.write_text(json.dumps(delegation_file_json(granted())))
    assert delegation_of(path) == delegation_of(str(path)) == granted()
    path.write_text(path.read_text().replace('"submit"', '"admin"'))
    with pytest.raises(BadSignature):
        delegation_of(path)
    for text in ("", "{}", "[]"):
        path.write_text(text)
        with pytest.raises(Misconfigured):
            delegation_of(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        delegation_of(tmp_path / "none.json")
