"""A signer that is another program signs what a key here would, and nothing else gets through."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from nacl.signing import SigningKey

from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import KeyManager, invite_signer, sign_consent
from p2pool.drivers.keys.signers.opener import open_signer
from p2pool.drivers.keys.signers.place import key_place
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Quota, Scope
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import BadSignature, Misconfigured, NotAllowed, Unavailable
from p2pool.model.ids import Address, NodeId
from p2pool.model.ports.signer import Signer
from p2pool.wire import typed_data
from p2pool.wire.binding import make_binding
from p2pool.wire.evm.key_signer import KeySigner
from tests.drivers.keys.signers.clef_double import Clef, new_clef, on_http, on_socket
from tests.wire.samples import POOL

SPENDER = Address(b"\x0b" * 20)
APPROVE: dict[str, Any] = {
    "chainId": POOL.chain_id,
    "nonce": 7,
    "gas": 60_000,
    "maxFeePerGas": 3 * 10**9,
    "maxPriorityFeePerGas": 10**9,
    "value": 0,
    "to": b"\xab" * 20,
    "data": function("AIToken", "approve").call(SPENDER, 10**24),
}
LEGACY = {k: v for k, v in APPROVE.items() if not k.startswith("max")} | {"gasPrice": 10**10}
DEPLOY = {k: v for k, v in APPROVE.items() if k != "to"} | {"data": b"\x60" * 200}
TRANSFER = APPROVE | {"data": b"", "value": 10**18}


@attrs.frozen
class Pair:
    """An external signer, and the same key here."""

    clef: Clef
    place: str
    signer: Signer
    key: KeySigner


@pytest.fixture(params=["socket", "http"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """One over each transport."""
    clef = new_clef(POOL.chain_id)
    serving = on_http(clef) if request.param == "http" else on_socket(clef, tmp_path / "clef.ipc")
    with serving as place:
        yield Pair(clef, place, open_signer(key_place(place)), KeySigner(clef.accounts[0]))


def test_whatever_the_pool_needs_signed_is_signed_alike(pair: Pair) -> None:
    """Requests, delegations, grants, bindings, consents and invites, bit for bit."""
    theirs, ours = pair.signer, pair.key
    assert theirs.address == ours.address
    request = TaskRequest(
        Action.SUBMIT, POOL.pool_id, "", '{"image":"é"}', b"r" * 32, 2**53 + 1, 2**53 + 900
    )
    delegation = Delegation(
        pool_id=POOL.pool_id,
        delegate=SPENDER,
        scope=Scope.SUBMIT,
        not_before_s=1,
        not_after_s=2,
        quota=Quota(max_gpus=4),
    )
    grant = LogGrant(pool_id=POOL.pool_id, task="t", not_before_s=1, not_after_s=2)
    peer = SigningKey(b"p" * 32)
    for signer in (theirs, ours):
        signed = typed_data.sign_request(POOL, signer, request)
        assert typed_data.recover_request(POOL, signed).hex() == ours.address[2:]
    assert typed_data.sign_request(POOL, theirs, request) == typed_data.sign_request(
        POOL, ours, request
    )
    assert typed_data.sign_delegation(POOL, theirs, delegation) == typed_data.sign_delegation(
        POOL, ours, delegation
    )
    assert typed_data.sign_grant(POOL, theirs, grant) == typed_data.sign_grant(POOL, ours, grant)
    assert make_binding(POOL, theirs, peer, 99) == make_binding(POOL, ours, peer, 99)
    assert sign_consent(theirs, SPENDER) == sign_consent(ours, SPENDER)
    invite = KeyManager(theirs).sign_invite(0, 7, NodeId(b"n" * 20), 2**40)
    assert invite_signer(invite).hex() == ours.address[2:]


@pytest.mark.parametrize("asked", [APPROVE, LEGACY, DEPLOY, TRANSFER])
def test_transactions_pass_its_checks_and_are_those_of_the_key(
    pair: Pair, asked: dict[str, Any]
) -> None:
    """clef wants checksums, hex, and the function that is called by its name."""
    assert pair.signer.sign_transaction(asked) == pair.key.sign_transaction(asked)
    method, params = pair.clef.asked[-1]
    assert method == "account_signTransaction"
    named = params[1:]
    assert named == (["approve(address,uint256)"] if asked in (APPROVE, LEGACY) else [])


def test_a_person_who_says_no_is_an_answer(pair: Pair) -> None:
    """With a sentence that says where it is to be approved."""
    pair.clef.approve = lambda method, params: False
    with pytest.raises(NotAllowed, match="refused account_signTransaction: Request denied") as told:
        pair.signer.sign_transaction(APPROVE)
    assert "Approve it there" in told.value.hint
    with pytest.raises(NotAllowed, match="account_signData"):
        pair.signer.sign_personal(b"x")
    other = attrs.evolve(POOL, chain_id=POOL.chain_id + 1)
    pair.clef.approve = lambda method, params: True
    grant = LogGrant(pool_id=POOL.pool_id, task="t", not_before_s=1, not_after_s=2)
    with pytest.raises(NotAllowed, match="does not match the configuration of the signer"):
        typed_data.sign_grant(other, pair.signer, grant)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 8},
        {"to": "0x00000000000000000000000000000000DeaDBeef"},
        {"value": 1},
        {"maxFeePerGas": 1},
    ],
)
def test_a_transaction_that_was_changed_is_not_sent(pair: Pair, change: dict[str, Any]) -> None:
    """clef's window lets a person change it, and then it signs that."""
    pair.clef.change = change | ({"maxPriorityFeePerGas": 0} if "maxFeePerGas" in change else {})
    with pytest.raises(BadSignature, match="signed something else than was asked"):
        pair.signer.sign_transaction(APPROVE)


def test_another_accounts_signature_does_not_count(pair: Pair) -> None:
    """Whatever the program thinks whose it is."""
    named = key_place(f"{pair.place}#{'0x' + 'cd' * 20}")
    pair.clef.accounts[0]
    signer = open_signer(named)
    with pytest.raises(NotAllowed, match="unknown account"):
        signer.sign_personal(b"x")
    good = KeySigner(new_clef(1).accounts[0]).sign_personal(b"x")
    pair.clef.raw_answer = b'{"jsonrpc":"2.0","id":1,"result":"0x%s"}' % good.hex().encode()
    with pytest.raises(BadSignature, match="the signature is that of"):
        pair.signer.sign_personal(b"x")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"hello\n", Unavailable),
        (b"[]\n", Unavailable),
        (b'{"jsonrpc":"2.0","id":2,"result":"0x"}\n', Unavailable),
        (b'{"jsonrpc":"2.0","id":1}\n', Unavailable),
        (b"[" * 5000 + b"]" * 5000 + b"\n", Unavailable),
        (b'{"jsonrpc":"2.0","id":1,"result":"0x12"}\n', BadSignature),
        (b'{"jsonrpc":"2.0","id":1,"result":{"raw":7}}\n', BadSignature),
        (b'{"jsonrpc":"2.0","id":1,"result":null}\n', BadSignature),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}\n', NotAllowed),
    ],
)
def test_nonsense_is_no_signature(
    pair: Pair, raw: bytes, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program at that address, or one that is broken."""
    monkeypatch.setattr(limits, "SIGNER_PATIENCE_MS", 1_000)
    pair.clef.raw_answer = raw
    with pytest.raises(error):
        pair.signer.sign_personal(b"x")
    with pytest.raises(error):
        pair.signer.sign_transaction(APPROVE)


def test_a_result_beside_an_error_of_null_is_a_result(pair: Pair) -> None:
    """Many programs write both members; null in both is an answer of nothing, as before."""
    good = pair.key.sign_personal(b"x").hex()
    pair.clef.raw_answer = b'{"id":1,"error":null,"result":"0x%s"}\n' % good.encode()
    assert pair.signer.sign_personal(b"x").hex() == good
    pair.clef.raw_answer = b'{"id":1,"error":null}\n'
    with pytest.raises(Unavailable, match="no answer in JSON-RPC"):
        pair.signer.sign_personal(b"x")


@pytest.mark.parametrize("version", ["\N{SUPERSCRIPT TWO}", "6" * 5000, "\u0666.1.0", "06.1"])
def test_a_version_that_is_no_number_is_another_protocol(pair: Pair, version: str) -> None:
    """Digits of other scripts, and more of them than Python reads."""
    pair.clef.version = version
    with pytest.raises(Misconfigured, match="of its interface") as told:
        open_signer(key_place(pair.place))
    assert len(told.value.message) < 1000


def test_nobody_is_waited_for_without_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who went home; an answer without end."""
    monkeypatch.setattr(limits, "SIGNER_PATIENCE_MS", 200)
    pair.clef.silent = threading.Event()
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        pair.signer.sign_personal(b"x")
    pair.clef.silent.set()
    pair.clef.silent = None
    monkeypatch.setattr(limits, "SIGNER_PATIENCE_MS", 30_000)
    pair.clef.raw_answer = b" " * (limits.SIGNER_ANSWER_MAX_BYTES + 1)
    with pytest.raises(Unavailable, match="too long"):
        pair.signer.sign_personal(b"x")


def test_the_account_is_the_only_one_or_the_one_named(tmp_path: Path) -> None:
    """Several are told by name, so that the next try is right."""
    clef = new_clef(POOL.chain_id, accounts=2)
    first, second = (account.address.lower() for account in clef.accounts)
    with on_socket(clef, tmp_path / "s") as place:
        with pytest.raises(Misconfigured, match="several accounts") as told:
            open_signer(key_place(place))
        assert first in told.value.message
        assert f"{place}#{first}" in told.value.hint
        clef.asked.clear()
        assert open_signer(key_place(f"{place}#{second}")).address == second
        assert [method for method, _ in clef.asked] == ["account_version"]  # Nobody is asked.
        clef.accounts.clear()
        with pytest.raises(Misconfigured, match="has no account"):
            open_signer(key_place(place))
        clef.approve = lambda method, params: False
        with pytest.raises(NotAllowed, match="account_list"):
            open_signer(key_place(place))
        versions: tuple[Any, ...] = ("4.0.0", "8.1.0", "latest", None, {})
        for version in versions:
            clef.version = version
            with pytest.raises(Misconfigured, match="version"):
                open_signer(key_place(place))


def test_a_signer_that_is_not_there_says_so(tmp_path: Path) -> None:
    """And never shows what a URL may hold."""
    for place in (f"clef:{tmp_path}/none.ipc", "clef:http://user:hunter22@127.0.0.1:1/secretpath7"):
        with pytest.raises(Unavailable, match="does not answer") as told:
            open_signer(key_place(place))
        assert "hunter22" not in str(told.value)
        assert "secretpath7" not in str(told.value)
