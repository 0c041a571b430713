"""What is kept of peers that came and went, and of what they say of themselves."""

from collections.abc import Iterator
from typing import Any

import trio
from libp2p.host.ping import ID as PING
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from nacl.signing import SigningKey

from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, close_stream
from p2pool.model.ids import PeerKey
from p2pool.model.states import Standing
from tests.net.harness.hosts import Node, introduce, running, wait_members

IDENTITIES = 6
OURS = ("p2pool.", "libp2p.")


def guests(hello: bytes) -> Standing | None:
    """Member 1 is one; all others are guests."""
    return Standing.MEMBER if hello == b"hello 1" else Standing.GUEST


def tables(root: Any) -> Iterator[tuple[str, Any]]:
    """All tables that are reached from an object of the library, by their names."""
    seen, waiting = set(), [("", root)]
    while waiting:
        name, found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, (dict, set)):
            yield name, found
            inner = found.values() if isinstance(found, dict) else ()
            waiting += [(f"{name}[]", value) for value in inner]
        elif type(found).__module__.startswith(OURS) and hasattr(found, "__dict__"):
            waiting += [(f"{name}.{key}", value) for key, value in vars(found).items()]
        elif isinstance(found, (list, tuple)):
            waiting += [(f"{name}[]", value) for value in found]
        elif callable(found) and getattr(found, "__closure__", None):
            waiting += [(f"{name}()", cell.cell_contents) for cell in found.__closure__]
        elif callable(found) and hasattr(found, "__self__"):
            waiting.append((f"{name}<", found.__self__))


def rows_about(node: Node, keys: list[PeerKey]) -> list[str]:
    """The names of the tables that have a row about one of these peers; of bounded ones, none."""
    about: set[Any] = {peer_id_of(key) for key in keys}
    about |= {str(peer_id) for peer_id in about} | {peer.to_bytes() for peer in about} | set(keys)
    found = []
    for name, table in tables(node.network):
        if type(table).__name__ == "BoundedDict" or name.startswith("._book"):
            continue
        names = {part for key in table for part in (key if isinstance(key, tuple) else (key,))}
        if about & {one for one in names if isinstance(one, (ID, str, bytes))}:
            found.append(name)
    return found


async def ask(one: Node, two: Node, protocol: str, said: bytes) -> bytes:
    """What comes back of a stream; nothing if it is refused."""
    try:
        stream = await one.network._host.new_stream(peer_id_of(two.key), [protocol])
        await stream.write(said)
        heard: bytes = await stream.read(64 * 1024)
    except (*STREAM_ERRORS, StreamEOF):
        return b""
    await close_stream(stream)
    return heard


def about_me(node: Node, addresses: int) -> bytes:
    """An identify message with so many addresses."""
    message = Identify(
        public_key=node.network._host.get_public_key().serialize(),
        listen_addrs=[
            Multiaddr(f"/ip4/10.0.{n // 250}.{n % 250}/tcp/1").to_bytes() for n in range(addresses)
        ],
        protocols=[f"/made/up/{n}" for n in range(addresses)],
    ).SerializeToString()
    length, prefix = len(message), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + message


async def test_nothing_is_kept_of_what_peers_say_of_themselves() -> None:
    """Identify-push is refused, and who pushes is not remembered while it is connected either."""
    with trio.fail_after(30):
        async with running(1) as one, running(2, guests) as two:
            introduce(one, two)
            await wait_members(one, two)
            await ask(one, two, ID_PUSH, about_me(one, 500))
            await trio.sleep(0.5)
            store = two.network._host.get_peerstore()
            assert store.peer_ids() == [peer_id_of(two.key)]
            assert ID_PUSH not in two.network._host.get_mux().get_protocols()


async def test_who_asks_is_told_who_we_are_however_many_came_before() -> None:
    """The library forgot its own keys after a thousand strangers, and answered no more."""
    with trio.fail_after(30):
        async with running(1) as one, running(2, guests) as two:
            introduce(one, two)
            await wait_members(one, two)
            store = two.network._host.get_peerstore()
            for number in range(1_200):
                key = PeerKey(bytes(SigningKey(number.to_bytes(32, "big")).verify_key))
                store.add_addrs(peer_id_of(key), [Multiaddr("/ip4/10.0.0.1/tcp/1")], 7_200)
            told = parse_identify_response(await ask(one, two, IDENTIFY, b""))
            assert told.public_key == two.network._host.get_public_key().serialize()
            assert len(store.peer_ids()) == 1
            assert await ask(one, two, PING, bytes(32)) == bytes(32)


async def test_no_table_has_a_row_about_a_peer_that_is_gone() -> None:
    """Identities cost nothing: each connects, says hello, asks, pings, pushes, and goes."""
    with trio.fail_after(60):
        async with running(2, guests) as two:
            keys = []
            for number in (1, *range(10, 10 + IDENTITIES)):
                async with running(number, guests) as one:
                    keys.append(one.key)
                    introduce(one, two)
                    await two.wait(lambda one=one: two.network.standing(one.key) is not None)  # type: ignore[misc]
                    await ask(one, two, ID_PUSH, about_me(one, 10))
                    await ask(one, two, IDENTIFY, b"")
                    await ask(one, two, PING, bytes(32))
                    await ask(one, two, "/none", b"")
                    assert rows_about(two, [one.key])
                await two.wait(lambda: two.network.connected() == ())
            await trio.sleep(0.5)
            assert rows_about(two, keys) == []
