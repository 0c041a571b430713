"""Whoever owns a contract account signs for it by a command, or elsewhere, and sends that."""

import json
from pathlib import Path

import attrs
import pytest

from p2pool.cli.access.group import access
from p2pool.cli.pool.group import pool
from p2pool.cli.task.group import task
from p2pool.cli.wallet import wallet
from p2pool.codec.json.delegations import read_delegation_file
from p2pool.drivers.chain.consent import invite_digest, personal_hash
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Malformed, Misconfigured, P2poolError
from p2pool.model.ids import Address
from p2pool.model.ports.agent import InviteOffered, SubmitCommand
from p2pool.wire.account import sign_hash
from p2pool.wire.typed_data import contract_signatures
from tests.api.fakes import OTHER_NODE, TASK_ID
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served
from tests.wire.samples import ACCOUNT, POOL

CONTRACT = Address(b"\xc0" * 20)
TEXT = "0x" + CONTRACT.hex()
RUN = ("run", "--image", "busybox", "--json")


def asked(served: Served) -> SubmitCommand:
    (found,) = served.port.asked
    assert isinstance(found, SubmitCommand)
    return found


def manage(served: Served) -> None:
    """The contract manages the pool."""
    roster = served.port.seen.roster
    assert roster is not None
    managed = attrs.evolve(roster, manager=CONTRACT)
    served.port.seen = attrs.evolve(served.port.seen, roster=managed)


async def test_the_owners_key_signs_for_the_contract(served: Served, commands: Commands) -> None:
    """The request names the contract, and the bytes are what its owner signed."""
    result = await commands(task, *RUN, "--contract", TEXT)
    assert result.exit_code == 0, result
    command = asked(served)
    assert (command.signer, command.signed.contract) == (CONTRACT, CONTRACT)
    (one,) = contract_signatures(POOL, command.signed)
    assert one.signature == sign_hash(ACCOUNT, one.digest)


async def test_what_is_signed_elsewhere_goes_on_from_a_file(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """No key is needed to write it; what is sent is what was written, for as long as can be."""
    file, signature = tmp_path / "unsigned.json", tmp_path / "signature"
    words = (*RUN, "--contract", TEXT, "--unsigned", str(file))
    result = await commands(task, *words, signs=False)
    assert result.exit_code == 0, result
    assert served.port.asked == []
    told = held(result.stdout)
    written = json.loads(file.read_text())["data"]
    assert told == {"file": str(file), "digest": written["digest"]}
    assert written["typed_data"]["primaryType"] == "TaskRequest"
    signature.write_text("0x" + "ab" * 130 + "\n")
    send = ("send", str(file), "--signature", str(signature))
    result = await commands(wallet, *send, "--json", signs=False)
    assert held(result.stdout)["task_id"] == TASK_ID.hex()
    signed = asked(served).signed
    (one,) = contract_signatures(POOL, signed)
    assert "0x" + one.digest.hex() == written["digest"]
    assert (one.contract, one.signature) == (CONTRACT, b"\xab" * 130)
    request = signed.request
    assert request.action is Action.SUBMIT
    assert request.not_after_s - request.not_before_s == limits.REQUEST_LIFETIME_MAX_S
    served.port.asked.clear()
    result = await commands(wallet, "send", str(file), "--signature", "0x" + "cd" * 65, signs=False)
    assert result.exit_code == 0
    assert asked(served).signed.signature == b"\xcd" * 65


async def test_a_wallet_elsewhere_needs_no_contract(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """A key on another machine signs the same file."""
    file = tmp_path / "unsigned.json"
    await commands(task, *RUN, "--unsigned", str(file), signs=False)
    digest = bytes.fromhex(json.loads(file.read_text())["data"]["digest"][2:])
    made = "0x" + sign_hash(ACCOUNT, digest).hex()
    result = await commands(wallet, "send", str(file), "--signature", made, signs=False)
    assert result.exit_code == 0, result
    assert asked(served).signed.contract is None
    assert asked(served).signer == Address(bytes.fromhex(ACCOUNT.address[2:]))


async def test_a_changed_file_is_not_sent(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """Its digest is no longer that of what stands there; so it is for another pool."""
    file = tmp_path / "unsigned.json"
    await commands(task, *RUN, "--contract", TEXT, "--unsigned", str(file), signs=False)
    text = file.read_text()
    file.write_text(text.replace("busybox", "evil"))
    send = ("send", str(file), "--signature", "0x" + "ab" * 65)
    error = (await commands(wallet, *send, signs=False)).exception
    assert isinstance(error, Malformed)
    assert "not the one whose digest" in str(error)
    for bad in ("{", "[]", "{}", '{"request": 1}'):
        file.write_text(bad)
        assert isinstance((await commands(wallet, *send, signs=False)).exception, Malformed)
    assert served.port.asked == []


@pytest.mark.parametrize("given", ["0x", "0xzz", "nowhere", "0x" + "ab" * 1025])
async def test_what_is_no_signature_is_said(
    served: Served, commands: Commands, tmp_path: Path, given: str
) -> None:
    """Before anything is sent."""
    file = tmp_path / "unsigned.json"
    await commands(task, *RUN, "--unsigned", str(file), signs=False)
    error = (await commands(wallet, "send", str(file), "--signature", given, signs=False)).exception
    assert isinstance(error, (Malformed, Misconfigured))
    assert "0x and hex digits" in error.hint
    assert served.port.asked == []


async def test_no_file_is_written_over(commands: Commands, tmp_path: Path) -> None:
    """It may hold what somebody is about to sign."""
    file = tmp_path / "unsigned.json"
    file.write_text("mine")
    error = (await commands(task, *RUN, "--unsigned", str(file), signs=False)).exception
    assert isinstance(error, P2poolError)
    assert "already exists" in str(error)
    assert file.read_text() == "mine"


async def test_a_contracts_owner_invites(served: Served, commands: Commands) -> None:
    """By its key, in the name of the contract that manages the pool; of no other contract."""
    words = ("invite", "0x" + OTHER_NODE.hex(), "--contract", TEXT)
    error = (await commands(pool, *words)).exception
    assert isinstance(error, Misconfigured)
    manage(served)
    without = (await commands(pool, *words[:2])).exception
    assert isinstance(without, Misconfigured)
    assert f"--contract {TEXT}" in without.hint
    result = await commands(pool, *words)
    assert result.exit_code == 0, result
    (offered,) = served.port.asked
    assert isinstance(offered, InviteOffered)
    made = offered.invite
    digest = invite_digest(
        made.domain_id, made.pool_id, made.node_id, made.nonce, made.expiration_s
    )
    assert made.signature == sign_hash(ACCOUNT, personal_hash(digest))


async def test_an_invite_is_signed_elsewhere(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """By as many owners as the contract wants: what they sign is in the file."""
    manage(served)
    file = tmp_path / "invite.json"
    words = ("invite", "0x" + OTHER_NODE.hex(), "--contract", TEXT, "--unsigned", str(file))
    result = await commands(pool, *words, signs=False)
    assert result.exit_code == 0, result
    written = json.loads(file.read_text())["data"]
    send = ("send", str(file), "--signature", "0x" + "ab" * 130)
    result = await commands(wallet, *send, signs=False)
    assert result.exit_code == 0, result
    (offered,) = served.port.asked
    assert isinstance(offered, InviteOffered)
    made = offered.invite
    assert (made.node_id, made.signature) == (OTHER_NODE, b"\xab" * 130)
    digest = invite_digest(
        made.domain_id, made.pool_id, made.node_id, made.nonce, made.expiration_s
    )
    assert written["message"] == "0x" + digest.hex()
    assert written["digest"] == "0x" + personal_hash(digest).hex()


async def test_lines_are_read_under_a_signature_of_now(commands: Commands) -> None:
    """A grant that others sign would be over before the lines are."""
    result = await commands(task, "logs", TASK_ID.hex(), "--unsigned", "nowhere.json")
    assert result.exit_code == 2
    assert "--unsigned is for requests" in result.stderr


async def test_a_contract_gives_rights_by_its_owners_key(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """Or by what its owners signed elsewhere; the file names the contract as who gave them."""
    manage(served)
    out, to = tmp_path / "a.json", "0x" + OTHER_NODE.hex()
    words = ("grant", to, "--scope", "read", "--for", "1h", "--contract", TEXT, "--out", str(out))
    result = await commands(access, *words)
    assert result.exit_code == 0, result
    file = read_delegation_file(out.read_bytes())
    assert (file.grantor, file.signed.contract) == (CONTRACT, CONTRACT)
    (one,) = contract_signatures(POOL, file.signed)
    assert one.signature == sign_hash(ACCOUNT, one.digest)
    begin = ("--from", str(file.signed.delegation.not_before_s), "--force")
    elsewhere = ("--signature", "0x" + "ab" * 130)
    result = await commands(access, *words, *begin, *elsewhere, signs=False)
    assert result.exit_code == 0, result
    assert read_delegation_file(out.read_bytes()).signed.signature == b"\xab" * 130
