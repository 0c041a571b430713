"""Whether events can be sent to the receivers that the configuration names; nothing is sent.

A secret that cannot be used keeps the agent from starting. A receiver that cannot be reached keeps
nobody from the pool.
"""

import trio

from p2pool.drivers.config.schema import NotifyConfig, WebhookConfig
from p2pool.drivers.webhooks.client import WebhookClient
from p2pool.drivers.webhooks.receiver import Receiver, load_receivers
from p2pool.model.errors import P2poolError
from p2pool.model.machine.checks import Check, Group, Verdict


async def webhook_checks(notify: NotifyConfig) -> list[Check]:
    """One check for each receiver, in the order of the configuration."""
    return [await _check(one) for one in notify.webhooks]


async def _check(webhook: WebhookConfig) -> Check:
    name = f"webhook {webhook.name}"
    only = NotifyConfig(webhooks=(webhook,))
    try:
        (receiver,) = await trio.to_thread.run_sync(load_receivers, only)
    except P2poolError as error:
        return Check(Group.NETWORK, name, Verdict.FAIL, error.message, todo=error.hint)
    return await _reached(receiver, name)


async def _reached(receiver: Receiver, name: str) -> Check:
    problem = await WebhookClient(receiver).check()
    if problem is None:
        return Check(Group.NETWORK, name, Verdict.PASS, f"{receiver.shown} may be sent to")
    todo = f"Correct it in [[notify.webhooks]], then: p2pool agent notify test {receiver.name}"
    return Check(
        Group.NETWORK,
        name,
        Verdict.WARN,
        f"{receiver.shown}: {problem}",
        needed="it can be",
        todo=todo,
    )
