"""Signs a command's request and has it carried out, or only shows it."""

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.documents import json_text, visible
from p2pool.cli.errors import is_narrow
from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.cli.shared.output import write_json
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.requests import request_for
from p2pool.model.access.requests import Action
from p2pool.model.errors import Misconfigured, P2poolError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


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
    def account(self) -> "LocalAccount":
        """The account that signs; reads its passphrase or prompts for it."""
        return account_of(self.key, self.passphrase_file)

    def send(self, action: Action, target: str = "", spec_json: str = "") -> Answer | None:
        """Sign a request and have it carried out, saying what it waits for. None: a dry run."""
        pool = self.client.pool_ref()
        request = request_for(pool, action, target, spec_json)
        if self.dry_run:
            from p2pool.wire.typed_data import request_typed_data

            write_signature(plain(request_typed_data(pool, request)), self.as_json)
            return None
        account = self.account
        from p2pool.wire.typed_data import sign_request

        told: set[str] = set()

        def waiting(error: P2poolError) -> None:
            if error.message not in told:
                told.add(error.message)
                click.echo(f"waiting: {visible(error.message)}", err=True)

        answer = self.client.send(sign_request(pool, account, request), waiting=waiting)
        named = {"task_id": answer.get("task_id")} if action is Action.SUBMIT else {}
        return {
            "action": action.value,
            "changed": True,
            **({_TARGETS[action]: target} if action in _TARGETS else named),
            **{key: answer.get(key) for key in ("index", "leader", "replicated", "duplicate")},
        }


def signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--passphrase-file`, `--agent`, `--dry-run` and `--json`, given together as one
    `Signer`."""

    @functools.wraps(command)
    def with_signer(
        *context: click.Context,
        client: AgentClient,
        key: str | None,
        passphrase_file: str | None,
        dry_run: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        signer = Signer(
            client=client,
            key=key,
            passphrase_file=passphrase_file,
            dry_run=dry_run,
            as_json=as_json,
        )
        command(*context, signer=signer, **given)

    return key_options(agent_option(dry_run_option(json_option(with_signer))))


def account_of(key: str | None, passphrase_file: str | None) -> "LocalAccount":
    """The account in a key file; reads its passphrase or prompts for it."""
    if not key:
        raise Misconfigured(
            "This needs a signature, and no key is given.",
            hint="Name a key file: --key FILE or P2POOL_KEY. Make one: p2pool wallet new.",
        )
    from p2pool.drivers.input_files import input_path
    from p2pool.drivers.keys.keystore import load_account, read_passphrase

    path = input_path(key)
    file = input_path(passphrase_file) if passphrase_file else None
    return load_account(path, read_passphrase(f"the key {path.name}", file=file))


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
