"""Evidence over real hosts: a validator brings a document as a guest, and a member fetches it."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio
from nacl.signing import SigningKey

from p2pool.agent.clock import read_clock
from p2pool.agent.streams.conversation import Conversation
from p2pool.agent.streams.evidence import EvidenceExchange, Holders, parts_of
from p2pool.agent.streams.intake import StreamIntake
from p2pool.agent.streams.members import MemberStreams
from p2pool.agent.wire.ingress import Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.drivers.net.events import FrameReceived, NetConfig, PeerConnected
from p2pool.drivers.net.network import Network
from p2pool.drivers.store.evidence_files import EvidenceFiles
from p2pool.model import messages as m
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.states import Standing
from p2pool.model.timing import Now
from p2pool.wire.account import Account
from p2pool.wire.binding import make_binding
from tests.agent.streams.evidence_agents import DOCUMENT, VERDICT
from tests.net.harness.hosts import LOOPBACK, TOPICS
from tests.validator.harness.nodes import VALIDATOR
from tests.wire.samples import POOL


@attrs.define
class Place:
    """One host. `members`: which node ids it takes for members; any other is a guest."""

    number: int
    account: Account
    members: set[NodeId]
    key: SigningKey = attrs.field(init=False)
    gate: Ingress = attrs.field(init=False)
    sealer: Sealer = attrs.field(init=False)
    intake: StreamIntake = attrs.field(init=False)
    network: Network = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key = SigningKey(bytes([self.number]) * 32)
        self.gate = Ingress(POOL, lambda node_id: None, member=self.members.__contains__)
        self.sealer = Sealer(POOL, self.node_id, self.peer_key, 1, self.key)
        self.intake = StreamIntake(self.sealer, self.opens)
        binding = make_binding(POOL, self.account, self.key, int(time.time()) - 10)
        said = m.Hello("1", binding, StoreId(bytes(16)), ())
        self.network = Network(
            NetConfig(seed=bytes(self.key), listen=LOOPBACK, **TOPICS),
            hello_bytes=lambda: self.sealer.seal(said, read_clock())[1],
            check_gossip=lambda channel, data: False,
            knows_origin=lambda key: False,
            accept_challenges=self.intake.serve,
        )

    @property
    def node_id(self) -> NodeId:
        return NodeId(bytes.fromhex(self.account.address[2:]))

    @property
    def peer_key(self) -> PeerKey:
        return PeerKey(bytes(self.key.verify_key))

    def opens(self, peer_key: PeerKey, data: bytes, now: Now) -> m.Verified:
        return self.gate.streamed(m.Channel.CHALLENGE, peer_key, data, now)

    async def read(self) -> None:
        """Judge whoever says hello."""
        async for event in self.network.events:
            if isinstance(event, PeerConnected):
                self.gate.guests.connected(event.peer_key, event.addresses)
            if isinstance(event, FrameReceived) and event.channel is m.Channel.HELLO:
                taken = self.gate.frame(event.channel, event.peer_key, event.data, read_clock())
                for one in taken:
                    member = one.verified.header.node_id in self.members  # type: ignore[union-attr]
                    standing = Standing.MEMBER if member else Standing.GUEST
                    self.network.set_standing(event.peer_key, standing)

    def keeper(self, path: Path, holders: Holders) -> EvidenceExchange:
        """Evidence as an agent keeps it."""
        streams = MemberStreams(None, self.network, self.sealer, self.opens)  # type: ignore[arg-type]
        verdicts = {VERDICT.verdict.evidence: VERDICT}
        made = EvidenceExchange(
            EvidenceFiles(path), verdicts.get, holders, streams.open, lambda _: True
        )
        self.intake.serve_by(m.EvidenceOffered, made.take)
        self.intake.serve_by(m.EvidenceRequested, made.give)
        return made


@asynccontextmanager
async def connected(*places: Place) -> AsyncIterator[None]:
    """All of them know each other."""
    pairs = [(one, other) for one in places for other in places if one is not other]

    def met() -> bool:
        return all(one.network.standing(other.peer_key) is not None for one, other in pairs)

    with trio.fail_after(90):
        async with AsyncExitStack() as stack:
            for place in places:
                await stack.enter_async_context(place.network.running())
            async with trio.open_nursery() as nursery:
                for place in places:
                    nursery.start_soon(place.read)
                for one, other in pairs:
                    one.network.learn(other.peer_key, other.network.addresses())
                while not met():  # noqa: ASYNC110 - nothing tells of a standing
                    await trio.sleep(0.02)
                yield
                nursery.cancel_scope.cancel()


async def test_a_guest_brings_a_document_and_a_member_fetches_it(tmp_path: Path) -> None:
    """Every frame within the budgets of guests, and of members; a guest gets none."""
    accounts = [Account(bytes([number]) * 32) for number in (31, 32)]
    members = {NodeId(bytes.fromhex(one.address[2:])) for one in accounts}
    holder, reader = (Place(31 + at, one, members) for at, one in enumerate(accounts))
    guest = Place(40, VALIDATOR, members)
    kept = holder.keeper(tmp_path / "holder", lambda node_id: ())
    fetched = reader.keeper(tmp_path / "reader", lambda node_id: (holder.peer_key,))
    await kept.run()
    await fetched.run()
    async with connected(holder, reader, guest):
        streams = MemberStreams(None, guest.network, guest.sealer, guest.opens)  # type: ignore[arg-type]
        async with streams.open(holder.peer_key) as talk:
            await _bring(talk)
        async with streams.open(holder.peer_key) as talk:
            await talk.send(m.EvidenceRequested(VERDICT.verdict.evidence))
            assert await talk.receive(10_000) is None
        assert await fetched.document(VERDICT.verdict.evidence) == DOCUMENT
    assert holder.intake.counters["not-allowed"] == 1
    assert kept.counters["given"] == 1
    assert fetched.is_here(VERDICT.verdict.evidence)


async def _bring(talk: Conversation) -> None:
    await talk.send(m.EvidenceOffered(VERDICT, len(DOCUMENT)))
    wanted = await talk.expect(10_000)
    assert isinstance(wanted, m.EvidenceAnswered)
    assert wanted.accepted, wanted.code
    for part in parts_of(DOCUMENT):
        await talk.send(part)
    done = await talk.expect(10_000)
    assert isinstance(done, m.EvidenceAnswered)
    assert done.accepted, done.code
