"""Ports, addresses and the clock are judged by what was found, with what to do."""

import os
import socket
from pathlib import Path

import pytest
import trio

from p2pool.drivers.checks.network import (
    address_check,
    clock_check,
    judge_clock,
    port_checks,
    socket_check,
)
from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.reachability.identify import Reachability, observed_host
from p2pool.model.ids import PeerKey
from p2pool.model.machine.checks import Verdict
from tests.net.harness.hosts import Node, everyone_is_a_member


def test_a_port_that_is_taken_is_told_and_a_free_one_passes() -> None:
    """Both the network's and the API's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        listen = (f"/ip4/127.0.0.1/tcp/{port}", "/ip4/127.0.0.1/tcp/0")
        first, second, api = port_checks(listen, f"127.0.0.1:{port}")
    assert (first.verdict, second.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert f"sport = :{port}" in first.todo
    assert api.verdict is Verdict.FAIL


def test_what_lies_in_the_place_of_the_socket_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, and another user's socket, which the agent would not touch; its own is no trouble."""
    path = tmp_path / "api.sock"
    assert socket_check(tmp_path).verdict is Verdict.PASS
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert socket_check(tmp_path).verdict is Verdict.PASS
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "another user" in socket_check(tmp_path).found
    path.unlink()
    path.write_text("")
    assert (socket_check(tmp_path).verdict, "Remove" in socket_check(tmp_path).todo) == (
        Verdict.FAIL,
        True,
    )


def test_an_address_that_is_no_multiaddr_fails_with_an_example() -> None:
    """Not with a traceback."""
    (check, _) = port_checks(("4001",), "127.0.0.1:0")
    assert (check.verdict, "/ip4/0.0.0.0/tcp/4001" in check.todo) == (Verdict.FAIL, True)


def test_private_addresses_are_warned_of_unless_one_is_announced() -> None:
    """A router in between, and what to write where there is one."""
    private = address_check(("/ip4/192.168.1.5/tcp/4001",), (), "", {})
    assert (private.verdict, "[network] announce" in private.todo) == (Verdict.WARN, True)
    behind = address_check(("/ip4/1.1.1.1/tcp/4001",), (), "8.8.8.8", {})
    assert (behind.verdict, "/ip4/8.8.8.8/tcp" in behind.todo) == (Verdict.WARN, True)


@pytest.mark.parametrize(
    ("offsets_ms", "verdict", "found"),
    [
        ([], Verdict.WARN, "no endpoint dates its answers"),
        ([0, 0], Verdict.PASS, "right"),
        ([4_999], Verdict.PASS, "5.0 s behind"),
        ([5_000], Verdict.WARN, "5.0 s behind"),
        ([-29_999], Verdict.WARN, "30.0 s ahead"),
        ([30_000], Verdict.FAIL, "30.0 s behind"),
        ([0, 0, -(10**9)], Verdict.PASS, "right"),
    ],
)
def test_the_clock_is_judged_by_the_middle_endpoint(
    offsets_ms: list[int], verdict: Verdict, found: str
) -> None:
    """At the bound of the pool's own messages it fails; one endpoint of three accuses nobody."""
    check = judge_clock(offsets_ms)
    assert (check.verdict, check.found) == (verdict, found)


async def test_the_dates_of_real_answers_are_read() -> None:
    """Over HTTP, from an endpoint whose clock is a day behind; a silent one is left out."""
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listener)
        check = await clock_check((f"http://127.0.0.1:{port}/", "http://127.0.0.1:9/"))
        nursery.cancel_scope.cancel()
    assert (check.verdict, "ahead" in check.found) == (Verdict.FAIL, True)


async def test_a_real_peer_says_as_what_it_sees_us() -> None:
    """By identify, over a connection of the moment; one that is not there is named."""
    peer = Node(1, everyone_is_a_member)
    async with peer.network.running():
        told = peer.network.addresses()[0].partition("/p2p/")[0]
        nobody = KnownPeer(PeerKey(b"\x01" * 32), ("/ip4/127.0.0.1/tcp/9",))
        with trio.fail_after(60):
            found = await observed_host((nobody, KnownPeer(peer.key, (told,))))
            assert found == Reachability("127.0.0.1")
            found = await observed_host((nobody,))
    assert found.seen == ""
    assert "/ip4/127.0.0.1/tcp/9" in found.why
