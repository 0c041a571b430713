"""Whoever comes to the gossip late hears what is fresh, and is heard, without a new connection."""

import trio

from p2pool.model import limits
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import Node, introduce, publish_until, running, wait_members

FRESH_S = 6
"""The router's window of three beats, and as much again for a machine that is busy."""


def guest_if_fourth(hello: bytes) -> Standing | None:
    """Number 4 is not in the pool yet."""
    return Standing.GUEST if hello == b"hello 4" else Standing.MEMBER


async def _say_the_time(node: Node) -> None:
    while True:
        node.network.publish(Channel.BEAT, b"said %d" % int(trio.current_time() * 1000))
        await trio.sleep(0.2)


async def test_a_newcomer_is_told_nothing_that_is_old() -> None:
    """After a long talk of others, what comes first was said a few beats ago at most."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two, running(3) as newcomer:
            introduce(one, two)
            await wait_members(one, two)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_say_the_time, one)
                nursery.start_soon(_say_the_time, two)
                await trio.sleep(2 * FRESH_S)
                came_ms = int(trio.current_time() * 1000)
                for node in (one, two):
                    introduce(newcomer, node)
                await newcomer.wait(lambda: len(newcomer.gossip()) > 30)
                nursery.cancel_scope.cancel()
            said = [int(data.split()[1]) for data in newcomer.gossip()]
            assert came_ms - min(said) < FRESH_S * 1000


async def test_a_guest_that_becomes_a_member_hears_and_is_heard_on_the_same_connection() -> None:
    """Its stream was reset for as long as it was a guest; nobody closes a connection."""
    with trio.fail_after(60):
        async with (
            running(1, guest_if_fourth) as one,
            running(2, guest_if_fourth) as two,
            running(4) as late,
        ):
            introduce(one, two)
            introduce(late, one)
            introduce(late, two)
            await wait_members(one, two)
            for node in (one, two):
                await late.wait(lambda n=node: late.network.standing(n.key) is not None)  # type: ignore[misc]
                await node.wait(lambda n=node: n.network.standing(late.key) is Standing.GUEST)  # type: ignore[misc]
            await one.wait(lambda: one.network.counters["gossip_streams_refused"] > 1)
            for node in (one, two):
                assert node.network.set_standing(late.key, Standing.MEMBER)
            with trio.fail_after(3 * limits.STREAM_REOPEN_MAX_MS / 1000):
                await publish_until(late, [one, two], b"late")
                await publish_until(one, [late], b"one")
                await publish_until(two, [late], b"two")
            assert one.comings(late) == two.comings(late) == ["+"]


async def test_a_member_for_a_moment_a_guest_goes_on_by_itself() -> None:
    """Only one side changed its mind, and back: the other kept its stream, and knows of nothing."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"first")
            for _ in range(3):
                one.network.set_standing(two.key, Standing.GUEST)
                await trio.sleep(0.1)
                one.network.set_standing(two.key, Standing.MEMBER)
                await trio.sleep(0.1)
            with trio.fail_after(3 * limits.STREAM_REOPEN_MAX_MS / 1000):
                await publish_until(one, [two], b"again")
                await publish_until(two, [one], b"and back")
            assert one.comings(two) == two.comings(one) == ["+"]
