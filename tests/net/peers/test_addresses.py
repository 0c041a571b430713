"""Addresses are what others can dial: ours as announced, theirs without what leads nowhere."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
import trio
from structlog.testing import capture_logs

from p2pool.agent.bootstrap import run_bootstrap
from p2pool.agent.observers import _learn_bootstrap
from p2pool.agent.options import BootstrapOptions
from p2pool.cli.pool.create import first_uri
from p2pool.codec.text.peer_id import peer_id
from p2pool.drivers.config.schema import NetworkConfig
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.peers import addresses
from p2pool.drivers.net.peers.addresses import expand_wildcards, parse_full_address
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured
from p2pool.model.ids import PeerKey
from tests.first_run.harness.configuration import config_of
from tests.net.harness.hosts import TOPICS, Node, everyone_is_a_member, running
from tests.store.samples import POOL

KEY = PeerKey(b"\x07" * 32)
LEADS_NOWHERE = (
    "/dnsaddr/bootstrap.example",
    "/ip4/203.0.113.7/udp/4001/quic-v1",
    "/ip4/203.0.113.7/tcp/4001/ws",
    "/ip4/203.0.113.7/tcp/0",
    "/ip4/0.0.0.0/tcp/4001",
    f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id(KEY)}/p2p-circuit",
    f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id(PeerKey(bytes(32)))}",
)


@pytest.mark.parametrize("text", LEADS_NOWHERE[:-1])
def test_a_configuration_with_what_can_never_be_dialled_is_refused(text: str) -> None:
    """Where it is written, not where it would be dialled; announced or to begin with."""
    with pytest.raises(ValueError, match="can never be dialled"):
        NetworkConfig(announce=(text,))
    with pytest.raises(ValueError, match="can never be dialled"):
        NetworkConfig(bootstrap=(f"{text}/p2p/{peer_id(KEY)}",))
    with pytest.raises(Misconfigured):
        parse_full_address(f"{text}/p2p/{peer_id(KEY)}")


@pytest.mark.parametrize("text", LEADS_NOWHERE[:-1])
def test_a_pools_data_uri_takes_none_and_one_that_has_some_is_warned_of(text: str) -> None:
    """Refused where it is written to the chain; of another's, each is named and the rest learnt."""
    full, good = f"{text}/p2p/{peer_id(KEY)}", f"/ip4/203.0.113.7/tcp/1/p2p/{peer_id(KEY)}"
    with pytest.raises(Malformed, match="can never be dialled"):
        first_uri(f"gpu:count=8;p2pool:bootstrap={full}", ())
    learnt: list[tuple[str, ...]] = []
    network = SimpleNamespace(learn=lambda key, addresses: learnt.append(addresses))
    with capture_logs() as logged:
        _learn_bootstrap((full, good), cast(Network, network))
    assert (len(logged), learnt) == (1, [("/ip4/203.0.113.7/tcp/1",)])


def test_more_addresses_than_fit_are_refused() -> None:
    """Whatever is over would be left out without a word."""
    many = tuple(f"/ip4/203.0.113.7/tcp/{n}" for n in range(1, limits.ADDRESSES_MAX + 2))
    NetworkConfig(announce=many[1:])
    with pytest.raises(ValueError, match="more than"):
        NetworkConfig(announce=many)


async def test_what_a_peer_says_is_kept_as_far_as_it_leads_to_it() -> None:
    """The rest is dropped and counted, whoever handed it on."""
    good = "/ip4/203.0.113.7/tcp/4001"
    async with running(1) as node:
        assert node.network.learn(KEY, (*LEADS_NOWHERE, f"{good}/p2p/{peer_id(KEY)}"))
        assert node.network._book.addresses(KEY) == (good,)
        assert node.network.counters["addresses_dropped"] == len(LEADS_NOWHERE)
        assert not node.network.learn(KEY, LEADS_NOWHERE)


async def test_what_is_announced_is_told_in_place_of_where_it_listens() -> None:
    """With its peer id, whether or not that was written; another's is refused."""
    node = Node(1, everyone_is_a_member)
    name = peer_id(node.key)
    good = "/dns4/node.example/tcp/4001"
    async with running(1, announce=(good, f"{good}/p2p/{name}")) as node:
        assert node.network.addresses() == (f"{good}/p2p/{name}",)
    with pytest.raises(Misconfigured, match="names another peer"):
        Node(1, everyone_is_a_member, announce=(f"{good}/p2p/{peer_id(KEY)}",))
    assert TOPICS


async def test_a_bootstrap_node_prints_and_says_what_it_announces(
    tmp_path: Path,
) -> None:
    """And names addresses that nobody elsewhere can dial as such."""
    told: list[tuple[str, ...]] = []
    for announce in (("/ip4/203.0.113.7/tcp/4001",), ()):
        stop = trio.Event()

        def started(found: tuple[str, ...], stop: trio.Event = stop) -> None:
            told.append(found)
            stop.set()

        options = BootstrapOptions(
            tmp_path / "data", POOL, ("/ip4/0.0.0.0/tcp/0",), announce=announce
        )
        with trio.fail_after(30):
            await run_bootstrap(options, stop, started)
    assert [text.partition("/p2p/")[0] for text in told[0]] == ["/ip4/203.0.113.7/tcp/4001"]
    assert all("/0.0.0.0/" not in text for text in told[1])
    assert config_of().network.announce == ()


def interfaces(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    """A machine with these interfaces; `_` for `-` in their names, and one that is down."""
    told = {
        name.replace("_", "-"): [
            SimpleNamespace(
                family=socket.AF_INET6 if ":" in address else socket.AF_INET, address=address
            )
        ]
        for name, address in found.items()
    }
    up = {name: SimpleNamespace(isup=name != "down0") for name in told}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: up)


def test_a_wildcard_becomes_what_others_can_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loopback, no bridge of containers, nothing link-local or down; public ones first."""
    interfaces(
        monkeypatch,
        lo="127.0.0.1",
        docker0="172.17.0.1",
        br_0123456789ab="172.18.0.1",
        veth12="169.254.3.4",
        virbr0="192.168.122.1",
        down0="192.168.9.9",
        br0="192.168.1.5",
        br_lan="10.1.1.1",
        eth1="8.8.8.8",
        eth2="169.254.1.1",
        wg0="fe80::1%wg0",
        eth3="2001:4860::1",
    )
    assert expand_wildcards(("/ip4/0.0.0.0/tcp/4001",)) == (
        "/ip4/8.8.8.8/tcp/4001",
        "/ip4/192.168.1.5/tcp/4001",
        "/ip4/10.1.1.1/tcp/4001",
    )
    assert expand_wildcards(("/ip6/::/tcp/4001",)) == ("/ip6/2001:4860::1/tcp/4001",)
    assert expand_wildcards(("/ip4/127.0.0.1/tcp/1",)) == ("/ip4/127.0.0.1/tcp/1",)
    assert addresses.OWN_BRIDGES.match("docker_gwbridge")


def test_a_machine_without_a_network_still_tells_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A development pool on one machine lives on it."""
    interfaces(monkeypatch, lo="127.0.0.1", docker0="172.17.0.1")
    assert expand_wildcards(("/ip4/0.0.0.0/tcp/4001",)) == ("/ip4/127.0.0.1/tcp/4001",)
