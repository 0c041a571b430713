"""A bootstrap node on real sockets: whom it names to a newcomer, and whom it dials."""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.agent.bootstrap import Bootstrap, port_at
from p2pool.agent.clock import read_clock
from p2pool.agent.options import BootstrapOptions
from p2pool.core.inputs import ChainObserved, ChainUnreachable, Received
from p2pool.core.knowledge.introductions import INTRODUCTIONS_TABLE
from p2pool.drivers.config.schema import ChainConfig
from p2pool.drivers.keys.keystore import load_or_make_peer_seed
from p2pool.drivers.net.events import FrameReceived, NetConfig
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.reachability.dial_back import LINE
from p2pool.drivers.store.datadir import prepare_directory
from p2pool.drivers.store.owner import BOOTSTRAP
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import Address, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested
from p2pool.model.messages.registry import Channel, Header, Verified
from p2pool.model.ports.store import Delete
from p2pool.model.states import Standing
from p2pool.wire.binding import make_binding
from p2pool.wire.envelope import max_bytes, open_sealed
from tests.agent.wire.peer import POOL, Peer
from tests.codec.samples import example
from tests.first_run.harness.configuration import config_of

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


@asynccontextmanager
async def bootstrap_in(
    directory: Path, chain: ChainConfig | None = None
) -> AsyncIterator[Bootstrap]:
    """A running bootstrap node, without an endpoint unless one is given."""
    prepare_directory(directory)
    seed = load_or_make_peer_seed(directory)
    started = trio.Event()
    async with Store.open(directory, POOL, node_id=BOOTSTRAP) as store:
        node = Bootstrap(BootstrapOptions(directory, POOL, LOOPBACK, chain=chain), seed, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.run, lambda addresses: started.set())
            await started.wait()
            yield node
            nursery.cancel_scope.cancel()


class Guest:
    """Somebody who connects to a bootstrap node, and keeps what it answers."""

    def __init__(self, number: int, to: Bootstrap, announce: tuple[str, ...] = ()) -> None:
        self.peer = Peer(number)
        self.announce = announce
        self.answers: list[BindingsAnswered] = []
        self.met = trio.Event()
        self.network = Network(
            NetConfig(
                seed=bytes([number]) * 32,
                listen=LOOPBACK,
                gossip=False,
                bootstrap=to.network.addresses(),
            ),
            hello_bytes=self.hello,
            check_gossip=lambda channel, data: False,
            knows_origin=lambda peer_key: False,
        )

    def hello(self) -> bytes:
        """A sealed hello."""
        return self.peer.sealer.seal(said_by(self.peer, self.where()), read_clock())[1]

    def where(self) -> tuple[str, ...]:
        """Where it says that it listens."""
        return self.announce or self.network.addresses()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Guest"]:
        """Connected, and known there."""
        async with self.network.running(), trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            with trio.fail_after(20):
                await self.met.wait()
            yield self
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        async for event in self.network.events:
            if isinstance(event, FrameReceived):
                if event.channel is Channel.HELLO:
                    self.network.set_standing(event.peer_key, Standing.GUEST)
                    self.met.set()
                else:
                    opened = open_sealed(
                        event.data, POOL, max_bytes=max_bytes(event.channel), channel=event.channel
                    )
                    if isinstance(opened.message, BindingsAnswered):
                        self.answers.append(opened.message)

    async def ask(self, node: Bootstrap, *nodes: Peer) -> BindingsAnswered:
        """What it is answered."""
        question = BindingsRequested(7, (), tuple(one.node_id for one in nodes))
        before = len(self.answers)
        with trio.fail_after(20):
            while len(self.answers) == before:
                channel, data = self.peer.sealer.seal(question, read_clock())
                self.network.send(node.network.peer_key, channel, data)
                await trio.sleep(0.2)
        return self.answers[-1]


def said_by(peer: Peer, addresses: tuple[str, ...]) -> Hello:
    """A hello of now."""
    now_s = read_clock().wall_ms // 1000
    binding = make_binding(POOL, peer.account, peer.key, now_s - 10)
    return Hello("1", binding, StoreId(b"s" * 16), addresses)


async def make_up(node: Bootstrap, nursery: trio.Nursery, count: int, seen: Peer) -> None:
    """So many nodes say hello from the host of a peer that is connected."""
    host = node.network.hosts_of(seen.peer_key)
    for number in range(count):
        peer = Peer(100 + number)
        hello = said_by(peer, ("/ip4/127.0.0.1/tcp/9",))
        assert hello.binding is not None
        node.peers.connect(peer.peer_key, dialled=False)
        header = Header(peer.node_id, peer.peer_key, 1, 1, read_clock().wall_ms)
        received = Received(Verified(header, Channel.HELLO, hello, b""), peer.peer_key)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(node.network, "hosts_of", lambda peer_key: host)
            await node._take(peer.peer_key, received, nursery)


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition, with a bound."""
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110  (The node says nothing when it changes.)
            await trio.sleep(0.05)


async def test_made_up_nodes_keep_a_newcomer_from_no_member(tmp_path: Path) -> None:
    """They are many, and newer; and who is asked for by name comes first. After a restart too."""
    async with bootstrap_in(tmp_path) as node, trio.open_nursery() as nursery:
        first, second = Guest(1, node), Guest(2, node)
        async with first.running(), second.running():
            await until(lambda: len(node.introductions.rows) == 2)
            await make_up(node, nursery, limits.PEER_LIST_MAX + 16, first.peer)
            async with Guest(3, node).running() as newcomer:
                answer = await newcomer.ask(node)
                named = [one.binding.node_id for one in answer.peers]
                assert len(named) == limits.PEER_LIST_MAX
                assert {first.peer.node_id, second.peer.node_id} <= set(named)
                late = Peer(100 + limits.PEER_LIST_MAX + 15)
                assert late.node_id not in named
                answer = await newcomer.ask(node, late)
                assert answer.peers[0].binding.node_id == late.node_id
    async with bootstrap_in(tmp_path) as node, Guest(3, node).running() as newcomer:
        named = [one.binding.node_id for one in (await newcomer.ask(node)).peers]
        assert {first.peer.node_id, second.peer.node_id} <= set(named)


async def test_it_dials_the_host_from_which_a_node_came_once_and_says_one_line(
    tmp_path: Path,
) -> None:
    """What listens there answers with the same line if it is an agent. No other address is dialled,
    nor any after the node has left, nor after a restart."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with trio.move_on_after(10):
                heard.append(await stream.receive_some(100))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="0.0.0.0")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        elsewhere = tuple(f"/ip4/127.0.0.{n}/tcp/{port}" for n in (2, 3, 1))
        async with bootstrap_in(tmp_path) as node:
            async with Guest(1, node, elsewhere).running() as liar:
                await until(lambda: heard)
            async with Guest(2, node).running() as honest:
                row = honest.peer.node_id
                await until(lambda: row in node.introductions.rows)
                await until(lambda: node.introductions.rows[row].answered)
            await until(lambda: not node.network.connected())
            await trio.sleep(1.5)
            assert not node.introductions.rows[liar.peer.node_id].answered
            assert heard == [LINE]
        async with bootstrap_in(tmp_path) as node:
            assert node.introductions.rows[row].answered
            await trio.sleep(1.5)
            assert node.network.counters["dials_connected"] == 0
            assert node.network.counters["dials_failed"] == 0
        assert heard == [LINE]
        nursery.cancel_scope.cancel()


async def test_an_outdated_agent_is_answered_when_it_asks(tmp_path: Path) -> None:
    """Its clock was wrong when one of its runs began: it is told nothing unasked, and nothing
    of it is noted."""
    async with bootstrap_in(tmp_path) as node, Guest(2, node).running() as other:
        later = Guest(1, node)
        async with later.running():
            await until(lambda: later.peer.node_id in node.introductions.rows)
        await until(lambda: later.peer.peer_key not in node.network.connected())
        outdated = Guest(1, node)
        outdated.peer.sealer = attrs.evolve(outdated.peer.sealer, incarnation=1)
        async with outdated.running():
            await trio.sleep(0.3)
            assert outdated.answers == []
            answer = await outdated.ask(node)
            assert answer.request == 7
            assert other.peer.node_id in [one.binding.node_id for one in answer.peers]


async def test_a_node_that_has_two_keys_at_once_is_named_to_nobody(tmp_path: Path) -> None:
    """Two bindings of one time void each other; whoever asks for others after that is answered,
    and the node is gone from the disk as well."""
    async with bootstrap_in(tmp_path) as node, trio.open_nursery() as nursery:
        async with Guest(1, node).running() as first:
            await until(lambda: node.introductions.rows)
            await make_up(node, nursery, 1, first.peer)
            twice, other = Peer(100), Peer(101)
            assert twice.node_id in node.introductions.rows
            known = node.peers.known[twice.node_id].binding
            binding = make_binding(POOL, twice.account, other.key, known.not_before_s)
            hello = Hello("1", binding, StoreId(b"s" * 16), ())
            node.peers.connect(other.peer_key, dialled=False)
            header = Header(twice.node_id, other.peer_key, 1, 1, read_clock().wall_ms)
            said = Received(Verified(header, Channel.HELLO, hello, b""), other.peer_key)
            await node._take(other.peer_key, said, nursery)
            assert twice.node_id not in node.peers.known
            named = [one.binding.node_id for one in (await first.ask(node)).peers]
            assert named == [first.peer.node_id]
            assert node.introductions.rows.keys() == {first.peer.node_id}
    async with bootstrap_in(tmp_path) as node:
        assert node.store.restored.tables[INTRODUCTIONS_TABLE].keys() == {first.peer.node_id}


async def test_a_table_that_an_earlier_version_filled_is_cut_to_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept as many as it could, and said nothing of how they came: the first newcomer finds
    room, and both tables keep the same nodes."""
    async with bootstrap_in(tmp_path) as node, trio.open_nursery() as nursery:
        async with Guest(1, node).running() as first:
            await until(lambda: node.introductions.rows)
            await make_up(node, nursery, 20, first.peer)
        rows = [Delete(INTRODUCTIONS_TABLE, bytes(one)) for one in node.introductions.rows]
        await node.store.write(tuple(rows))
    monkeypatch.setattr(limits, "MEMBERS_MAX", 21)
    async with bootstrap_in(tmp_path) as node:
        assert len(node.introductions.rows) == 21
        node.introductions.most = 10
        async with Guest(2, node).running() as newcomer:
            await until(lambda: newcomer.peer.node_id in node.introductions.rows)
            await until(lambda: len(node.introductions.rows) == 10)
            assert node.introductions.rows.keys() == node.peers.known.keys()
            answer = await newcomer.ask(node)
            assert newcomer.peer.node_id in [one.binding.node_id for one in answer.peers]


def test_the_port_is_that_of_the_host_from_which_it_came() -> None:
    """Behind a NAT it may name another host: then the first port that it names."""
    named = ("/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/2/p2p/12D3", "/dns4/a.example/tcp/3")
    assert port_at("8.8.8.8", named) == 2
    assert port_at("9.9.9.9", named) == 1
    assert port_at("9.9.9.9", ()) is None


async def test_it_reads_from_the_chain_who_is_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members are named before everybody that was there first; while no endpoint answers, what was
    read last stands, and nobody is turned away."""
    member = Peer(9)

    class Follower:
        """A chain that cannot be read at first."""

        def __init__(self, reader: object, confirmations: int, **options: object) -> None:
            pass

        async def observations(self) -> AsyncIterator[ChainObserved | ChainUnreachable]:
            yield ChainUnreachable("it is down")
            rows = (ChainMember(member.node_id, Address(b"p" * 20), True),)
            read = attrs.evolve(example(ChainRoster), members=rows)
            yield ChainObserved(read, read)
            yield ChainUnreachable("it is down again")
            await trio.sleep_forever()

    monkeypatch.setattr("p2pool.agent.bootstrap.RosterFollower", Follower)
    async with bootstrap_in(tmp_path, config_of().chain) as node, trio.open_nursery() as nursery:
        async with Guest(1, node).running() as first:
            await until(lambda: node.introductions.rows)
            await make_up(node, nursery, 5, first.peer)
            hello = said_by(member, ())
            node.peers.connect(member.peer_key)
            await node._carry(node.peers.greet(hello, member.peer_key, lambda node_id: False))
            node.introductions.met(member.node_id, b"g", b"h")
            await until(lambda: node.introductions.providers)
            answer = await first.ask(node)
    assert answer.peers[0].binding.node_id == member.node_id
    assert len(answer.peers) == 7


async def test_a_frame_with_much_to_check_leaves_turns_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a bootstrap node as of an agent: others run at each pause."""
    async with bootstrap_in(tmp_path) as node:
        others: list[int] = []

        def many(*_: object) -> Generator[None, None, list[Received]]:
            for number in range(5):
                others.append(-number)
                yield
            return []

        async def other() -> None:
            while True:
                others.append(1)
                await trio.lowlevel.checkpoint()

        monkeypatch.setattr(node.ingress, "by_turns", many)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            event = FrameReceived(Peer(9).peer_key, Channel.QUERY, b"frame")
            await node._on_event(event, nursery)
            nursery.cancel_scope.cancel()
        places = [at for at, one in enumerate(others) if one <= 0]
        # trio runs all that are ready in any order: of two turns in a row one has others before it.
        assert all(1 in others[a:b] for a, b in zip(places, places[2:], strict=False))
