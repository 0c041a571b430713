"""The address under which others see this machine: asked of a bootstrap node, before an agent runs.

Intuition: a host with a throwaway key dials out, and libp2p's identify says from where. If that is
not an address of this machine, there is a router in between. Source: libp2p identify spec.
"""

from collections import Counter
from typing import Any

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
from p2pool.drivers.net.transport.frames import STREAM_ERRORS
from p2pool.model import limits


async def observed_host(peers: tuple[KnownPeer, ...]) -> tuple[str, str]:
    """The host that the first peer to answer sees us as, else "" and why none answered."""
    reasons: list[str] = []
    host = build_host(random(32), Counter())
    service = HostLifecycle(
        host, Counter(), opened=lambda _: None, ended=lambda _: None, handlers={}, make_pubsub=None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run, ())
        await service.ready.wait()
        for peer in peers:
            with trio.move_on_after(limits.HELLO_TIMEOUT_MS / 1000 * 2) as scope:
                try:
                    seen = await _ask(host, peer)
                except (*STREAM_ERRORS, ProtobufError, MultiaddrError) as error:
                    reasons.append(f"{peer.addresses[0]}: {error or type(error).__name__}")
                    continue
                if seen:
                    service.stop(limits.SHUTDOWN_DEADLINE_MS)
                    return seen, ""
            if scope.cancelled_caught:
                reasons.append(f"{peer.addresses[0]}: no answer in time")
        service.stop(limits.SHUTDOWN_DEADLINE_MS)
    return "", "; ".join(reasons) or "no bootstrap node is known"


async def _ask(host: Any, peer: KnownPeer) -> str:
    peer_id = peer_id_of(peer.peer_key)
    for address in peer.addresses:
        for target in await resolve(address):
            await host.get_network().dial_addr(target, peer_id)
            stream = await host.new_stream(peer_id, [IDENTIFY])
            told = parse_identify_response(await _read_to_end(stream)).observed_addr
            parts = str(Multiaddr(told)).split("/")
            return parts[2] if len(parts) > 2 else ""
    return ""


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
