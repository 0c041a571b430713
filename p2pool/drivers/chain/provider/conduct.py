"""Sends a plan: what is ready, call by call, the bytes that a dry run shows.

Each call goes through the account's writer, which tries it first; so a plan that the chain has
overtaken is refused, and what was sent before stays done: the next plan starts from there.
"""

from collections.abc import Callable

import attrs

from p2pool.drivers.chain.provider.plan import Call, Plan
from p2pool.drivers.chain.transactions.writer import Sent, Writer


@attrs.frozen
class Done:
    """A call that is in a block."""

    call: Call
    sent: Sent


async def send_ready(
    plan: Plan, writer: Writer, counted: int, told: Callable[[Done], None] = lambda _: None
) -> tuple[Done, ...]:
    """Send all calls before the first wait, in order; `told` hears of each as it is in a block.

    `counted`: the writer's count from before the chain was read for the plan. `Overtaken` once
    another process has sent for the same account: two that add stake would else add it twice.
    """
    assert plan.account == writer.address, "the plan is of another account"
    done: list[Done] = []
    for call in plan.ready:
        at = counted + len(done)
        sent = await writer.send(call.to, call.function, *call.arguments, counted=at)
        done.append(Done(call, sent))
        told(done[-1])
    return tuple(done)
