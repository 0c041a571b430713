"""Requests that a command signs and has carried out, or only shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.output import write_json
from p2pool.client.agent import AgentClient, Answer
from p2pool.model.access.requests import TaskRequest
from p2pool.model.errors import Misconfigured, P2poolError
from p2pool.model.ids import PoolRef

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def show_request(pool: PoolRef, request: TaskRequest) -> None:
    """What would be signed, as a wallet takes it."""
    from p2pool.wire.typed_data import request_typed_data

    write_json(plain(request_typed_data(pool, request)))


def send_request(
    client: AgentClient, pool: PoolRef, request: TaskRequest, key: str | None, file: str | None
) -> Answer:
    """Sign a request and have it carried out, saying what is waited for."""
    account = account_of(key, file)
    from p2pool.wire.typed_data import sign_request

    told: set[str] = set()

    def waiting(error: P2poolError) -> None:
        if error.message not in told:
            told.add(error.message)
            click.echo(f"waiting: {error.message}", err=True)

    return client.send(sign_request(pool, account, request), waiting=waiting)


def account_of(key: str | None, passphrase_file: str | None) -> "LocalAccount":
    """The account in a key file, its passphrase read or asked for."""
    if not key:
        raise Misconfigured(
            "This has to be signed, and no key is given.",
            hint="Name a key file: --key FILE or P2POOL_KEY. Make one: p2pool wallet new.",
        )
    from p2pool.drivers.keys.keystore import load_account, read_passphrase

    path = Path(key).expanduser()
    file = Path(passphrase_file).expanduser() if passphrase_file else None
    return load_account(path, read_passphrase(f"the key {path.name}", file=file))


def plain(value: Any) -> Any:
    """Typed data with bytes as `0x` hex, as wallets take them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
