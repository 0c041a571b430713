"""What a connection brings: handshake bytes, muxed frames, protocol names, protobuf, our frames."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.io.abc import ReadWriteCloser
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.noise.messages import (
    NoiseHandshakePayload,
    make_handshake_payload_sig,
    verify_handshake_payload_sig,
)
from libp2p.security.noise.pb.noise_pb2 import NoiseHandshakePayload as NoisePayload
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from p2pool.drivers.net.gossip_intake import GossipIntake
from p2pool.drivers.net.host.host import build_host
from p2pool.drivers.net.pubsub import PoolPubsub, _is_record_of
from p2pool.drivers.net.transport.frames import (
    STREAM_ERRORS,
    FrameReader,
    decode_length,
    encode_frame,
)
from p2pool.model.errors import Malformed
from p2pool.model.messages.registry import Channel
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import sealed

logging.getLogger("libp2p").setLevel(logging.CRITICAL)
logging.getLogger("p2pool.drivers.net.host.host").setLevel(logging.CRITICAL)

SEED, OTHER_SEED = b"s" * 32, b"o" * 32
KEYS = create_new_key_pair(OTHER_SEED)
PEER = ID.from_pubkey(KEYS.public_key)
PROTOCOL = "/p2pool/fuzz/1"
MULTISTREAM, YAMUX = "/multistream/1.0.0", "/yamux/1.0.0"
HOLD_S = 30
TOPICS = {"beats": Channel.BEAT, "announcements": Channel.ANNOUNCE}


# --- frames -------------------------------------------------------------------------------------


class Stream:
    """A stream of another's bytes, in pieces of a length that the first byte says."""

    def __init__(self, data: bytes) -> None:
        self.muxed_conn = SimpleNamespace(peer_id=PEER)
        self._size = 1 + (data[0] if data else 0)
        self._data = data[1:]
        self.resets = 0

    async def read(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        size = min(self._size, most)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        self.resets += 1

    def get_remote_address(self) -> tuple[str, int]:
        return ("198.51.100.7", 4001)


def _frames() -> Iterator[bytes]:
    some = [encode_frame(one) for one in (b"a", b"b" * 200)]
    yield b"\x40" + b"".join(some)
    yield b"\0\0"
    yield b"\xff\x80\x80\x80\x80"
    yield b"\x01" + encode_frame(next(sealed()))


@target("net-frames", seeds=_frames, allowed=[Malformed])
def frames(data: bytes) -> None:
    """A stream of frames: what is read is written alike, in whatever pieces it comes."""

    async def read() -> bytes:
        reader, found = FrameReader(Stream(data), 1024), b""
        while (frame := await reader.receive()) is not None:
            assert 0 < len(frame) <= 1024
            found += encode_frame(frame)
        return found

    decode_length(bytearray(data[1:]))
    found = trio.run(read)
    assert len(found) <= len(data)


# --- Noise --------------------------------------------------------------------------------------


def _noise_payloads() -> Iterator[bytes]:
    from libp2p.crypto.x25519 import create_new_key_pair as new_static

    static = new_static().public_key
    signed = make_handshake_payload_sig(KEYS.private_key, static)
    yield NoiseHandshakePayload(KEYS.public_key, signed).serialize()
    for kind in range(5):
        key = bytes([8, kind, 18, 4]) + b"key!"
        yield NoisePayload(identity_key=key, identity_sig=b"s").SerializeToString()


@target("net-noise-payload", seeds=_noise_payloads, allowed=[ValueError])
def noise_payload(data: bytes) -> None:
    """What a handshake says of its peer's identity, by the library."""
    found = NoiseHandshakePayload.deserialize(data)
    verify_handshake_payload_sig(found, KEYS.public_key)
    ID.from_pubkey(found.id_pubkey)


class Wire(ReadWriteCloser):  # type: ignore[misc]
    """A connection on which a stranger's bytes have come; after them it ends."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.closed = False
        self.is_initiator = False
        self.written = 0

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        taken, self._data = self._data[:n], self._data[len(self._data[:n]) :]
        return taken

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written += len(data)

    async def close(self) -> None:
        self.closed = True

    def get_remote_address(self) -> tuple[str, int]:
        return ("198.51.100.7", 4001)

    def get_remote_peer(self) -> ID:
        return PEER

    def get_transport_addresses(self) -> list[Any]:
        return [Multiaddr("/ip4/198.51.100.7/tcp/4001")]

    def get_connection_type(self) -> Any:
        return None


async def _at_host(work: Callable[[Any], Awaitable[None]]) -> None:
    """Hand a running host's swarm to some work, which a stranger's bytes must not make fail."""
    counters: Counter[str] = Counter()
    host = build_host(SEED, counters)

    async def serve(stream: Any) -> None:
        reader = FrameReader(stream, 1024)
        while (frame := await reader.receive()) is not None:
            await stream.write(encode_frame(frame))

    host.set_stream_handler(PROTOCOL, serve)
    swarm = host.get_network()
    async with background_trio_service(swarm):
        await work(swarm)
        await trio.sleep(HOLD_S)
        await host.close()
    assert not counters["handlers_raised"], "a handler raised what no stream raises"


def _run(work: Callable[[Any], Awaitable[None]]) -> None:
    trio.run(_at_host, work, clock=trio.testing.MockClock(autojump_threshold=0))


def _line(text: str) -> bytes:
    data = text.encode() + b"\n"
    return bytes([len(data)]) + data


def _openings() -> Iterator[bytes]:
    yield _line(MULTISTREAM) + _line("/noise") + b"\0\x20" + b"e" * 32
    yield _line(MULTISTREAM) + _line("ls") + _line("na")
    yield b"\xff\xff\xff\xff\x7f"
    yield b"GET / HTTP/1.1\r\n\r\n"
    yield _line(MULTISTREAM) + b"\x03\xff\xfe\n"


@target("net-handshake", seeds=_openings, allowed=[], time_ms=1000)
def handshake(data: bytes) -> None:
    """The first bytes of a connection, before any authentication."""

    async def work(swarm: Any) -> None:
        wire = Wire(data)
        await swarm._handle_inbound_connection(wire, Multiaddr("/ip4/127.0.0.1/tcp/1"))
        assert wire.closed, "a failed handshake leaves its connection open"

    _run(work)


# --- after the handshake ------------------------------------------------------------------------


def frame(
    kind: int, flags: int, number: int, body: bytes = b"", length: int | None = None
) -> bytes:
    """A frame of Yamux."""
    size = len(body) if length is None else length
    head = bytes([0, kind]) + flags.to_bytes(2, "big") + number.to_bytes(4, "big")
    return head + size.to_bytes(4, "big") + body


def _muxed() -> Iterator[bytes]:
    begin = _line(MULTISTREAM) + _line(YAMUX)
    asked = _line(MULTISTREAM) + _line(PROTOCOL)
    ours = frame(1, 1, 1) + frame(0, 0, 1, asked + encode_frame(b"hello")) + frame(0, 4, 1)
    yield begin + ours
    pushed = Identify(
        protocol_version="a", agent_version="b", listen_addrs=[b"\x04\x7f\0\0\1\6\0\1"]
    )
    data = pushed.SerializeToString()
    for protocol in ("/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"):
        body = _line(MULTISTREAM) + _line(protocol) + bytes([len(data)]) + data
        yield begin + frame(0, 1, 1, body) + frame(0, 4, 1) + frame(2, 1, 0, length=7)
    yield begin + frame(0, 3, 1, b"x") + frame(1, 8, 1) + frame(3, 0, 0, length=2)
    yield begin + frame(0, 0, 9, b"x") + frame(1, 2, 2, length=2**31) + frame(9, 9, 9)
    yield begin + frame(0, 1, 1, length=2**32 - 1)


@target("net-muxed", seeds=_muxed, allowed=[], time_ms=1000)
def muxed(data: bytes) -> None:
    """All bytes of a connection after Noise: the muxer, its streams, the library's protocols."""

    async def work(swarm: Any) -> None:
        wire = Wire(data)
        # The swarm takes any exception of an upgrade for a failed one; not of what runs later.
        with suppress(Exception), trio.fail_after(HOLD_S):
            connection = await swarm.upgrader.upgrade_connection(wire, PEER)
            await swarm.add_conn(connection, "inbound")

    _run(work)


# --- protobuf -----------------------------------------------------------------------------------


def _identities() -> Iterator[bytes]:
    yield Identify(
        observed_addr=b"\x04\x7f\0\0\1\6\x0f\xa1", public_key=KEYS.public_key.serialize()
    ).SerializeToString()
    yield Identify(observed_addr=b"\x29" + b"\0" * 15 + b"\1\6\0\1").SerializeToString()
    yield Identify(observed_addr=b"\x36\4a.b.").SerializeToString()


@target("net-identity", seeds=_identities, allowed=[])
def identity(data: bytes) -> None:
    """What a bootstrap node says of the address that it sees."""
    from google.protobuf.message import Error as ProtobufError
    from multiaddr.exceptions import Error as MultiaddrError

    try:
        told = parse_identify_response(data).observed_addr
        host = str(Multiaddr(told)).split("/")
    # Those that `reachability.identify` catches.
    except (*STREAM_ERRORS, ProtobufError, MultiaddrError):
        return
    assert host


@target("net-record", seeds=_identities, allowed=[])
def record(data: bytes) -> None:
    """A neighbour's signed record: it is that peer's, or it is none."""
    assert not _is_record_of(data, PEER)


def _rpcs() -> Iterator[bytes]:
    message = rpc_pb2.Message(
        from_id=PEER.to_bytes(),
        seqno=b"\0" * 8,
        data=next(sealed()),
        topicIDs=["beats"],
        signature=b"s" * 64,
        key=b"",
    )
    subscription = rpc_pb2.RPC.SubOpts(subscribe=True, topicid="beats")
    control = rpc_pb2.ControlMessage(
        ihave=[rpc_pb2.ControlIHave(topicID="beats", messageIDs=[b"00"])],
        iwant=[rpc_pb2.ControlIWant(messageIDs=[b"00", b"zz"])],
        graft=[rpc_pb2.ControlGraft(topicID="beats")],
        prune=[
            rpc_pb2.ControlPrune(
                topicID="beats", backoff=60, peers=[rpc_pb2.PeerInfo(peerID=PEER.to_bytes())]
            )
        ],
    )
    for rpc in (
        rpc_pb2.RPC(publish=[message]),
        rpc_pb2.RPC(subscriptions=[subscription]),
        rpc_pb2.RPC(control=control),
        rpc_pb2.RPC(senderRecord=b"x"),
    ):
        yield b"\xff" + encode_frame(rpc.SerializeToString())


@target("net-gossip", seeds=_rpcs, allowed=[], time_ms=1000)
def gossip(data: bytes) -> None:
    """A member's gossip stream: its frames, their protobuf, and what the router makes of it."""

    async def read() -> None:
        counters: Counter[str] = Counter()
        host = build_host(SEED, counters)

        async def admitted(peer_id: ID) -> bool:
            return True

        intake = GossipIntake(
            TOPICS,
            knows_origin=lambda key: True,
            check_gossip=lambda channel, content: True,
            counters=counters,
        )
        pubsub = PoolPubsub(
            host,
            topics=TOPICS,
            is_member=lambda peer_id: True,
            wait_member=admitted,
            intake=intake,
            deliver=lambda channel, key, content: None,
            counters=counters,
        )
        async with background_trio_service(pubsub.pool_router), background_trio_service(pubsub):
            await pubsub.wait_until_ready()
            for topic in TOPICS:
                await pubsub.subscribe(topic)
            pubsub.peers[PEER] = Stream(b"")
            pubsub.pool_router.add_peer(PEER, "/meshsub/1.1.0")
            await pubsub.stream_handler(Stream(data))
            pubsub.seen_messages.stop()

    trio.run(read, clock=trio.testing.MockClock(autojump_threshold=0))
