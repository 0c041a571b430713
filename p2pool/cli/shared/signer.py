"""Signs a command's request and has it carried out, or only shows it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.documents import json_text, visible
from p2pool.cli.errors import is_narrow
from p2pool.cli.shared.output import write_json
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.requests import request_for
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Misconfigured, P2poolError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from p2pool.drivers.keys.key_client import UnlockedKey
    from p2pool.model.access.grants import LogGrant, SignedGrant
    from p2pool.model.ids import PoolRef
    from p2pool.wire.account import Account


_TARGETS = {
    Action.STOP: "task_id",
    **dict.fromkeys((Action.DRAIN, Action.RESUME, Action.BAN, Action.UNBAN), "node_id"),
    Action.SET: "setting",
}
"""What the target of an action is called in the document about it."""


@attrs.frozen
class Signer:
    """The agent that a command asks, and the key that signs; a dry run only shows the request."""

    client: AgentClient
    key: str | None
    passphrase_file: str | None
    dry_run: bool
    as_json: bool

    @property
    def account(self) -> "Account":
        """The account that signs; reads its passphrase or prompts for it."""
        from p2pool.drivers.keys.keystore import open_key_file

        return open_key_file(*_opened(self.key, self.passphrase_file))

    def _unlocked(self) -> "UnlockedKey | None":
        """The key, if `wallet unlock` holds it now and no passphrase is named for it here."""
        if not self.key or self.passphrase_file:
            return None
        from p2pool.drivers.keys import key_client, keystore

        address = keystore.address_said(_absolute(self.key))
        if address is None:  # Only its passphrase shows whose key it is.
            return None
        return key_client.unlocked(address)

    def _signed(self, pool: "PoolRef", request: TaskRequest) -> SignedRequest:
        if (held := self._unlocked()) is not None:
            return SignedRequest(request, held.sign_request(pool, request))
        from p2pool.wire.typed_data import sign_request

        return sign_request(pool, self.account, request)

    def sign_grant(self, pool: "PoolRef", grant: "LogGrant") -> "SignedGrant":
        """A signed right to read a task's log."""
        if (held := self._unlocked()) is not None:
            from p2pool.model.access.grants import SignedGrant

            return SignedGrant(grant, held.sign_grant(pool, grant))
        from p2pool.wire import typed_data

        return typed_data.sign_grant(pool, self.account, grant)

    def send(self, action: Action, target: str = "", spec_json: str = "") -> Answer | None:
        """Sign a request and have it carried out, saying what it waits for. None: a dry run."""
        pool = self.client.pool_ref()
        request = request_for(pool, action, target, spec_json)
        if self.dry_run:
            from p2pool.wire.typed_data import request_typed_data

            write_signature(plain(request_typed_data(pool, request)), self.as_json)
            return None
        signed = self._signed(pool, request)
        told: set[str] = set()

        def waiting(error: P2poolError) -> None:
            if error.message not in told:
                told.add(error.message)
                click.echo(f"waiting: {visible(error.message)}", err=True)

        return _said(action, target, self.client.send(signed, waiting=waiting))


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


def account_of(key: str | None, passphrase_file: str | None) -> "LocalAccount":
    """The account in a key file, for transactions; reads its passphrase or prompts for it."""
    from p2pool.drivers.keys.keystore import load_account

    return load_account(*_opened(key, passphrase_file))


def _opened(key: str | None, passphrase_file: str | None) -> tuple[Path, str]:
    """A key file and its passphrase."""
    if not key:
        raise Misconfigured(
            "This needs a signature, and no key is given.",
            hint="Name a key file: --key FILE or P2POOL_KEY. Make one: p2pool wallet new.",
        )
    from p2pool.drivers.keys.keystore import read_passphrase

    path = _absolute(key)
    file = _absolute(passphrase_file) if passphrase_file else None
    return path, read_passphrase(f"the key {path.name}", file=file)


def _absolute(path: str) -> Path:
    from p2pool.drivers.input_files import input_path

    return input_path(path)


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
