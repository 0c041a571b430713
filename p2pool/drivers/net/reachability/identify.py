"""The address under which others see this machine: asked of a bootstrap node, before an agent runs.

Intuition: a host with a throwaway key dials out, and libp2p's identify says from where. If that is
not an address of this machine, there is a router in between. Source: libp2p identify spec.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import trio
from google.protobuf.message import Error as ProtobufError
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.network.stream.exceptions import StreamEOF
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError
from nacl.utils import random

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.host.host import build_host
from p2pool.drivers.net.host.lifecycle import HostLifecycle
from p2pool.drivers.net.peers.addresses import peer_id_of, resolve
from p2pool.drivers.net.reachability.dial_back import Listening, ask
from p2pool.drivers.net.transport.frames import STREAM_ERRORS
from p2pool.model import limits


@attrs.frozen
class Reachability:
    """What a peer said of us. `seen`: the host that it sees, or ""; `why`: why none answered;
    `dialled`: whether it reached us at a port, None where it did not say."""

    seen: str = ""
    why: str = ""
    dialled: Mapping[int, bool | None] = attrs.field(factory=dict)


async def observed_host(
    peers: tuple[KnownPeer, ...], ports: tuple[int, ...] = (), here: Listening | None = None
) -> Reachability:
    """What the first peer to answer says: as which host it sees us, and whether it reaches us at
    these ports, where `here` listens."""
    reasons: list[str] = []
    host = build_host(random(32), Counter())
    service = HostLifecycle(
        host, Counter(), opened=lambda _: None, ended=lambda _: None, handlers={}, make_pubsub=None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run, ())
        await service.ready.wait()
        for peer in peers:
            seen = ""
            with trio.move_on_after(limits.HELLO_TIMEOUT_MS / 1000 * 2) as scope:
                try:
                    seen = await _ask(host, peer)
                except (*STREAM_ERRORS, ProtobufError, MultiaddrError) as error:
                    reasons.append(f"{peer.addresses[0]}: {error or type(error).__name__}")
                    continue
            if seen:
                found: dict[int, bool | None] = {}
                if here is not None:
                    for port in ports[: limits.DIAL_BACK_PORTS_MAX]:
                        found[port] = await _dialled_back(host, peer, here, port)
                service.stop(limits.SHUTDOWN_DEADLINE_MS)
                return Reachability(seen, "", found)
            if scope.cancelled_caught:
                reasons.append(f"{peer.addresses[0]}: no answer in time")
        service.stop(limits.SHUTDOWN_DEADLINE_MS)
    return Reachability("", "; ".join(reasons) or "no bootstrap node is known")


async def _dialled_back(host: Any, peer: KnownPeer, here: Listening, port: int) -> bool | None:
    """Whether a peer reaches us at a port. It disconnects whoever says no hello: dialled anew."""
    peer_id = peer_id_of(peer.peer_key)
    try:
        with trio.move_on_after(limits.DIAL_TIMEOUT_MS / 1000):
            if not host.get_network().get_connections(peer_id):
                await _connect(host, peer)
    except (*STREAM_ERRORS, MultiaddrError):
        return None
    return await ask(host, peer_id, here, port)


async def _connect(host: Any, peer: KnownPeer) -> bool:
    """A connection to a peer, at the first of its addresses that names a host. False: none does."""
    for address in peer.addresses:
        for target in await resolve(address):
            await host.get_network().dial_addr(target, peer_id_of(peer.peer_key))
            return True
    return False


async def _ask(host: Any, peer: KnownPeer) -> str:
    if not await _connect(host, peer):
        return ""
    stream = await host.new_stream(peer_id_of(peer.peer_key), [IDENTIFY])
    told = parse_identify_response(await _read_to_end(stream)).observed_addr
    parts = str(Multiaddr(told)).split("/")
    return parts[2] if len(parts) > 2 else ""


async def _read_to_end(stream: Any) -> bytes:
    data = b""
    while len(data) < limits.IDENTIFY_MAX_BYTES:
        try:
            part = await stream.read(limits.IDENTIFY_MAX_BYTES)
        except StreamEOF:
            break
        if not part:
            break
        data += part
    return data
