"""Attacks by what is said of others: addresses of members, made-up nodes, places to dial."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.model.messages.queries import BindingsAnswered, PeerKnown
from p2pool.model.messages.registry import Channel
from tests.attacks.attacker.guest import Guest, bindings
from tests.attacks.attacker.stage import Stage, attack

TRAPS = 8
MADE_UP = 80
TRAP_HOST = "127.66.9.9"
AGAIN_S = 5.0


@asynccontextmanager
async def traps(stage: Stage, host: str = TRAP_HOST) -> AsyncIterator[tuple[str, ...]]:
    """Ports of the attacker, at which it counts who is sent there, and what is said there."""

    async def serve(stream: trio.SocketStream) -> None:
        stage.counts["dialled"] += 1
        async with stream:
            with trio.move_on_after(10):
                async for data in stream:
                    stage.counts["dialled with bytes"] += bool(data)

    async with trio.open_nursery() as nursery:
        addresses = []
        for _ in range(TRAPS):
            (listener,) = await trio.open_tcp_listeners(0, host=host)
            port = listener.socket.getsockname()[1]
            addresses.append(f"/ip4/{host}/tcp/{port}")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield tuple(addresses)
        nursery.cancel_scope.cancel()


@attack("addresses")
async def addresses(stage: Stage) -> None:
    """A guest hands on the true bindings of all members with addresses of its own, unasked, for
    one member is away and known only by what others say."""
    known = await bindings(stage.at(), Guest(stage.pool), 30)
    async with traps(stage) as places:
        lies = tuple(attrs.evolve(peer, addresses=places) for peer in known)

        async def body() -> None:
            async with stage.guest(stage.at()) as (guest, line):
                query = await line.open(PROTOCOLS[Channel.QUERY])
                for number in range(20):
                    told = guest.sealed(BindingsAnswered(number, lies))
                    await line.send(query, told)
                    stage.counts["lies"] += len(lies)
                    await trio.sleep(1)

        await stage.crowd(4, body)


@attack("dials")
async def dials(stage: Stage) -> None:
    """Guests name places that are not theirs as their own, and go."""
    async with traps(stage) as places:

        async def body() -> None:
            guest = Guest(stage.pool)
            named = tuple(guest.at(place) for place in places)
            async with stage.guest(
                stage.at(), seed=guest.seed, binding=guest.binding, addresses=named
            ):
                stage.counts["named"] += len(named)
                await trio.sleep(1)

        await stage.crowd(4, body)


@attack("made-up")
async def made_up(stage: Stage) -> None:
    """80 nodes that do not exist say hello at the bootstrap node, and stay."""

    async def body() -> None:
        guest = Guest(stage.pool)
        named = (guest.at("/ip4/127.66.0.1/tcp/4001"),)
        async with stage.guest(
            stage.at(), seed=guest.seed, binding=guest.binding, addresses=named
        ) as (_, line):
            while not line.ended:
                await line.told.wait()

    await stage.crowd(MADE_UP, body)


@attack("made-up-everywhere")
async def made_up_everywhere(stage: Stage) -> None:
    """As many as go, from as many networks as there are, each of which goes again."""

    async def body() -> None:
        guest = Guest(stage.pool)
        at = stage.elsewhere()
        named = (guest.at(f"/ip4/{at.source}/tcp/4001"),)
        async with stage.guest(at, seed=guest.seed, binding=guest.binding, addresses=named):
            await trio.sleep(0.5)

    await stage.crowd(16, body)


@attack("answers")
async def answers(stage: Stage) -> None:
    """A guest answers what nobody asked, with what each answer may hold."""

    async def body() -> None:
        async with stage.guest(stage.at()) as (guest, line):
            query = await line.open(PROTOCOLS[Channel.QUERY])
            assert guest.binding is not None
            peers = tuple(PeerKnown(guest.binding, ()) for _ in range(64))
            while True:
                for number in range(10):
                    await line.send(query, guest.sealed(BindingsAnswered(number, peers)))
                    stage.counts["answers"] += 1
                await trio.sleep(1)

    await stage.crowd(4, body)
