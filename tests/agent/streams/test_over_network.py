"""A challenge over two real hosts: the way in of an agent at one end, a guest at the other."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.streams.conversation import Conversation
from p2pool.agent.streams.intake import StreamIntake
from p2pool.agent.wire.ingress import Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.drivers.net.events import FrameReceived, NetConfig, PeerConnected
from p2pool.drivers.net.network import Network
from p2pool.model import messages as m
from p2pool.model.errors import Unavailable
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, StoreId
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.states import Standing
from p2pool.model.validation.evidence import Conclusion
from p2pool.wire.binding import make_binding
from tests.agent.streams import doubles
from tests.agent.streams.doubles import ACCOUNT, NODE, VALIDATOR_KEY, Place, Validator, opens
from tests.net.harness.hosts import LOOPBACK, TOPICS
from tests.validator.harness.nodes import VALIDATOR
from tests.wire.samples import POOL


@attrs.define
class Host:
    """A host that takes everybody for a guest, once its way in has taken the hello."""

    network: Network
    gate: Ingress
    met: trio.Event = attrs.Factory(trio.Event)

    async def read(self) -> None:
        """Judge whoever says hello."""
        async for event in self.network.events:
            if isinstance(event, PeerConnected):
                self.gate.guests.connected(event.peer_key, event.addresses)
            if isinstance(event, FrameReceived):
                assert self.gate.frame(event.channel, event.peer_key, event.data, read_clock())
                self.network.set_standing(event.peer_key, Standing.GUEST)
                self.met.set()


@asynccontextmanager
async def hosts(place: Place, account: Address = ACCOUNT) -> AsyncIterator[tuple[Host, Host]]:
    """The node, whose streams a place serves, and a validator, connected."""

    def hello(sealer: Sealer, binding: PeerBinding) -> bytes:
        said = m.Hello("1", binding, StoreId(bytes(16)), ())
        return sealer.seal(said, read_clock())[1]

    now_s = int(time.time()) - 10
    node_sealer = doubles.sealer_of(NODE.key, NODE.node_id)
    guest_sealer = doubles.sealer_of(VALIDATOR_KEY, NodeId(bytes(account)))
    node_binding = make_binding(POOL, NODE.account, NODE.key, now_s)
    guest_binding = make_binding(POOL, VALIDATOR, VALIDATOR_KEY, now_s)
    node_gate, guest_gate = (Ingress(POOL, lambda node_id: None) for _ in range(2))
    place.intake = StreamIntake(
        node_sealer, lambda key, data, now: node_gate.streamed(m.Channel.CHALLENGE, key, data, now)
    )
    place.intake.serve_by(m.ChallengeProposed, place.server.serve)
    node = Network(
        NetConfig(seed=bytes(NODE.key), listen=LOOPBACK, **TOPICS),
        hello_bytes=lambda: hello(node_sealer, node_binding),
        check_gossip=lambda channel, data: False,
        knows_origin=lambda key: False,
        accept_challenges=place.intake.serve,
    )
    guest = Network(
        NetConfig(seed=bytes(VALIDATOR_KEY), listen=LOOPBACK, gossip=False),
        hello_bytes=lambda: hello(guest_sealer, guest_binding),
        check_gossip=lambda channel, data: False,
        knows_origin=lambda key: False,
    )
    with trio.fail_after(90):
        async with node.running(), guest.running(), trio.open_nursery() as nursery:
            pair = Host(node, node_gate), Host(guest, guest_gate)
            for host in pair:
                nursery.start_soon(host.read)
            guest.learn(node.peer_key, node.addresses())
            for host in pair:
                await host.met.wait()
            yield pair
            nursery.cancel_scope.cancel()


async def talk_with(guest: Host, account: Address = ACCOUNT) -> Conversation:
    """A stream that the validator opens."""
    key = PeerKey(bytes(NODE.key.verify_key))
    stream = await guest.network.open_stream(key, m.Channel.CHALLENGE)
    sealer = doubles.sealer_of(VALIDATOR_KEY, NodeId(bytes(account)))
    return Conversation(key, stream, sealer, opens)


async def test_a_validator_challenges_a_node_as_its_guest() -> None:
    """All frames pass the budgets of guests; the node hears the verdict, and may be asked again."""
    place = Place()
    async with hosts(place) as (_, guest):
        for _ in range(3):
            talk = await talk_with(guest)
            validator = Validator(talk)
            evidence = await validator.challenge()
            assert not isinstance(evidence, m.ChallengeDeclined), evidence
            assert evidence.conclusion is Conclusion.VALID, evidence.faults
            await validator.tell(evidence)
            assert await talk.receive(10_000) is None
    assert place.server.counters["concluded_valid"] == 3
    assert place.asked == [ACCOUNT]


async def test_a_guest_speaks_for_the_account_of_its_binding_alone() -> None:
    """A frame in a validator's name, under the key of somebody else, opens nothing."""
    place = Place()
    async with hosts(place) as (_, guest):
        talk = await talk_with(guest, Address(b"\x01" * 20))
        await talk.send(m.ChallengeProposed(()))
        assert await talk.receive(10_000) is None
        member = await talk_with(guest)
        await member.send(m.EvidenceRequested(Digest(bytes(32))))
        assert await member.receive(10_000) is None
    assert place.intake.counters == {"malformed": 1, "not-allowed": 1}
    assert place.asked == []


async def test_a_connection_that_ends_frees_the_gpus() -> None:
    """As it does when the validator's machine is gone in the middle of a round."""
    runs = doubles.Runs(hold="multiply")
    place = Place(runs=runs)
    async with hosts(place) as (node, guest), trio.open_nursery() as nursery:
        talk = await talk_with(guest)

        async def challenge() -> None:
            with pytest.raises(Unavailable):
                await Validator(talk).challenge()

        nursery.start_soon(challenge)
        await runs.held.wait()
        run = place.server._run
        assert run is not None
        node.network.set_standing(guest.network.peer_key, Standing.REFUSED)
        await run.over.wait()
    assert runs.ended == 1
