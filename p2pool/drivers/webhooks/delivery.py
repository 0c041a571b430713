"""One signed attempt, and a test message that an operator sends.

Invariant: the secrets are those that the file holds at the attempt, so an exchange needs no
restart.
"""

import json
import secrets as chance
import time
from datetime import UTC, datetime

import trio

from p2pool.drivers.webhooks.client import Outcome, WebhookClient
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.drivers.webhooks.signature import headers, read_secrets
from p2pool.model.errors import BadKey

TEST = "test"
"""The type of a test message; no event is of this kind."""


async def attempt(client: WebhookClient, name: str, body: bytes, at_s: int) -> Outcome:
    """Sign a message and post it once."""
    try:
        known = await trio.to_thread.run_sync(read_secrets, client.receiver.secret_file)
    except BadKey as error:
        return Outcome(None, error.message)
    return await client.post(headers(known, name, at_s, body), body)


async def send_test(receiver: Receiver) -> tuple[str, Outcome]:
    """Send a test message; its id, and what became of it."""
    name, now = f"test_{chance.token_hex(8)}", datetime.now(UTC)
    told = {
        "type": TEST,
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"text": "p2pool agent notify test: this receiver can be reached."},
    }
    client = WebhookClient(receiver)
    try:
        return name, await attempt(client, name, json.dumps(told).encode(), int(time.time()))
    finally:
        with trio.CancelScope(shield=True):
            await client.close()
