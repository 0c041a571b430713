"""Requests that a command signs and has carried out, or only shows."""

import click

from p2pool.cli.shared.options import account_of, plain
from p2pool.cli.shared.output import write_json
from p2pool.client.agent import AgentClient, Answer
from p2pool.model.access.requests import TaskRequest
from p2pool.model.errors import P2poolError
from p2pool.model.ids import PoolRef


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
