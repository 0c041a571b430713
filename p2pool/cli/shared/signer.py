"""Signs a command's request and has it carried out, or only shows it."""

import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from p2pool.cli.documents import json_text, visible
from p2pool.cli.errors import is_narrow
from p2pool.cli.shared.output import write_json
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.requests import request_for
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Misconfigured, P2poolError

if TYPE_CHECKING:
    from p2pool.drivers.keys.key_client import UnlockedKey
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.model.access.delegations import DelegationFile, SignedDelegation
    from p2pool.model.access.grants import LogGrant, SignedGrant
    from p2pool.model.ids import Address, PoolRef
    from p2pool.model.ports.signer import Signer as AccountSigner


S = TypeVar("S", SignedRequest, "SignedGrant")
_TARGETS = {
    **dict.fromkeys((Action.STOP, Action.SET_SECRET), "task_id"),
    **dict.fromkeys((Action.DRAIN, Action.RESUME, Action.BAN, Action.UNBAN), "node_id"),
    Action.SET: "setting",
    Action.REVOKE: "account",
}
"""What the target of an action is called in the document about it."""


@attrs.frozen
class Signer:
    """The agent that a command asks, and the key that signs; a dry run only shows the request.
    `delegation`: the file of the delegation that it signs under; None or empty: for itself.
    `contract`: the contract account that the key signs for; `unsigned`: the file into which to
    write what has to be signed elsewhere."""

    client: AgentClient
    key: str | None
    passphrase_file: str | None
    dry_run: bool
    as_json: bool
    delegation: str | None = None
    contract: "Address | None" = None
    unsigned: Path | None = None

    @property
    def account(self) -> "AccountSigner":
        """Who signs for the account; reads its passphrase or prompts for it."""
        return opened_account(self.key, self.passphrase_file)

    @functools.cached_property
    def delegation_file(self) -> "DelegationFile | None":
        """The delegation that it signs under, read and its signature checked; None: for itself."""
        if not self.delegation:
            return None
        from p2pool.cli.shared.delegations.delegation_file import read_delegation

        return read_delegation(_absolute(self.delegation))

    def _under(self, pool: "PoolRef") -> "SignedDelegation | None":
        """What is sent with a signature. Raises, before a passphrase is asked for, what makes the
        delegation useless for it."""
        file = self.delegation_file
        if file is None:
            return None
        from p2pool.cli.shared.delegations import delegation_file

        delegation_file.check_use(file, pool, int(time.time()))
        if self.contract is not None:
            delegation_file.check_delegate(file, self.contract)
        elif self.key and (address := key_address(self.key)) is not None:
            delegation_file.check_delegate(file, address)
        return file.signed

    def _signing(self, under: "SignedDelegation | None") -> "AccountSigner":
        """The account that signs under a delegation: of a key that does not say its address only
        its passphrase shows whose it is."""
        account = self.account
        if under is not None and self.contract is None:
            from p2pool.cli.shared.delegations.delegation_file import check_delegate
            from p2pool.model.ids import Address

            assert self.delegation_file is not None
            check_delegate(self.delegation_file, Address(bytes.fromhex(account.address[2:])))
        return account

    def _unlocked(self) -> "UnlockedKey | None":
        """The key, if `wallet unlock` holds it now and no passphrase is named for it here."""
        if not self.key or self.passphrase_file:
            return None
        from p2pool.drivers.keys import key_client
        from p2pool.drivers.keys.signers.place import KeyFile

        if not isinstance(place_of(self.key), KeyFile):
            return None
        address = key_address(self.key)
        if address is None:  # Only its passphrase shows whose key it is.
            return None
        return key_client.unlocked(address)

    def _signed(self, pool: "PoolRef", request: TaskRequest) -> SignedRequest:
        under = self._under(pool)
        if (held := self._unlocked()) is not None:
            return SignedRequest(request, held.sign_request(pool, request), under)
        from p2pool.wire.typed_data import sign_request

        return sign_request(pool, self._signing(under), request, under)

    def sign_grant(self, pool: "PoolRef", grant: "LogGrant") -> "SignedGrant":
        """A signed right to read a task's log."""
        under = self._under(pool)
        if (held := self._unlocked()) is not None:
            from p2pool.model.access.grants import SignedGrant

            return self._for_contract(SignedGrant(grant, held.sign_grant(pool, grant), under))
        from p2pool.wire import typed_data

        account = self._signing(under)
        return self._for_contract(typed_data.sign_grant(pool, account, grant, under))

    def show_grant(self, pool: "PoolRef", grant: "LogGrant") -> None:
        """Write what `sign_grant` would sign."""
        from p2pool.wire.typed_data import grant_typed_data

        self._under(pool)
        write_signature(plain(grant_typed_data(pool, grant)), self.as_json)

    def _for_contract(self, signed: S) -> S:
        """The same in the name of the contract account that the key owns, if it is one."""
        return signed if self.contract is None else attrs.evolve(signed, contract=self.contract)

    def _write_unsigned(self, pool: "PoolRef", request: TaskRequest) -> None:
        """Write a request for others to sign, in force for as long as one can be."""
        from p2pool.cli import unsigned_file

        assert self.unsigned is not None
        last_s = request.not_before_s + limits.REQUEST_LIFETIME_MAX_S
        request = attrs.evolve(request, not_after_s=last_s)
        signed = SignedRequest(request, b"", self._under(pool), self.contract)
        document = unsigned_file.write_request(self.unsigned, pool, signed, plain)
        say_unsigned(self.unsigned, document["digest"], self.as_json)

    @property
    def address(self) -> "Address":
        """In whose name it signs: the contract account, or the key's; a key file that says whose
        it is is not opened."""
        from p2pool.model.ids import Address

        said = self.contract or (key_address(self.key) if self.key else None)
        return said or Address(bytes.fromhex(self.account.address[2:]))

    def send(
        self,
        action: Action,
        target: str = "",
        spec_json: str = "",
        *,
        request_id: bytes | None = None,
        secrets: bytes | None = None,
    ) -> Answer | None:
        """Sign a request and have it carried out, saying what it waits for. None: a dry run, or it
        is for others to sign. `secrets`: the blob that it names, for this `request_id`."""
        if secrets is not None and self.unsigned is not None:
            raise Misconfigured(
                "A request for others to sign cannot bring secrets: --unsigned has no place for"
                " them.",
                hint="Sign it here: --key FILE --contract ADDRESS, or leave the secrets out.",
            )
        pool = self.client.pool_ref()
        request = request_for(pool, action, target, spec_json, request_id)
        if self.dry_run:
            from p2pool.wire.typed_data import request_typed_data

            self._under(pool)
            write_signature(plain(request_typed_data(pool, request)), self.as_json)
            if secrets is not None:
                click.echo(
                    "note: secrets are encrypted anew for each request. This one shows what would"
                    " be signed, and cannot be sent: what it encrypted is gone.",
                    err=True,
                )
            return None
        if self.unsigned is not None:
            self._write_unsigned(pool, request)
            return None
        signed = self._for_contract(self._signed(pool, request))
        return _said(action, target, carried_out(self.client, signed, secrets))


def carried_out(client: AgentClient, signed: SignedRequest, secrets: bytes | None = None) -> Answer:
    """Have a signed request carried out, and say what it waits for."""
    told: set[str] = set()

    def waiting(error: P2poolError) -> None:
        if error.message not in told:
            told.add(error.message)
            click.echo(f"waiting: {visible(error.message)}", err=True)

    return client.send(signed, secrets=secrets, waiting=waiting)


def sent(client: AgentClient, signed: SignedRequest) -> Answer:
    """Have a request carried out that was signed elsewhere; the document about it."""
    request = signed.request
    return _said(request.action, request.target, carried_out(client, signed))


def needless(action: Action, target: str) -> Answer:
    """What `send` would say of a request that nobody has to sign: all is so already."""
    return {**_said(action, target, {}), "changed": False}


def _said(action: Action, target: str, answer: Answer) -> Answer:
    """The document about a request; what the agent did not say is null."""
    named = {"task_id": answer.get("task_id")} if action is Action.SUBMIT else {}
    return {
        "action": action.value,
        "changed": True,
        **({_TARGETS[action]: target} if action in _TARGETS else named),
        **{key: answer.get(key) for key in ("index", "leader", "replicated", "duplicate")},
    }


def opened_account(key: str | None, passphrase_file: str | None) -> "AccountSigner":
    """Who signs with the key that `--key` names; reads its passphrase or prompts for it."""
    from p2pool.drivers.keys.signers.opener import open_signer

    file = _absolute(passphrase_file) if passphrase_file else None
    return open_signer(place_of(key), passphrase_file=file)


def key_address(key: str) -> "Address | None":
    """The account whose key `--key` names, without its passphrase; None if nothing there says
    it."""
    from p2pool.drivers.keys.signers.opener import address_said

    return address_said(place_of(key))


def place_of(key: str | None) -> "KeyPlace":
    """Where the key is that `--key` names."""
    if not key:
        raise Misconfigured(
            "This needs a signature, and no key is given.",
            hint="Name a key file: --key FILE or P2POOL_KEY. Make one: p2pool wallet new.",
        )
    from p2pool.drivers.keys.signers.place import key_place

    return key_place(key)


def _absolute(path: str) -> Path:
    from p2pool.drivers.input_files import input_path

    return input_path(path)


def say_unsigned(path: Path, digest: str, as_json: bool) -> None:
    """Say what was written for others to sign, and how it goes on."""
    if as_json:
        write_json("unsigned", {"file": str(path), "digest": digest})
        return
    click.echo(f"{path} holds what has to be signed, of digest {digest}.")
    click.echo(f"Then: p2pool wallet send {path} --signature SIGNATURE", err=True)


def write_signature(typed: Any, as_json: bool) -> None:
    """Write what would be signed: alone, as wallets take it, or with --json in a document."""
    if as_json:
        write_json("signature", {"would_sign": typed})
    else:
        click.echo(json_text(typed, indent=2, ascii_only=is_narrow(sys.stdout)))


def plain(value: Any) -> Any:
    """Typed data with bytes as `0x` hex, as wallets take them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
