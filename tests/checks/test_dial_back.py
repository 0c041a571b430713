"""An address is called good once a peer dialled it, and a peer dials nobody but who asks."""

import socket
from collections import Counter
from typing import Any

import pytest
import trio

from p2pool.drivers.checks.network import address_check, ports_to_dial
from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.reachability import dial_back
from p2pool.drivers.net.reachability.dial_back import DialBack, listening
from p2pool.drivers.net.reachability.identify import observed_host
from p2pool.drivers.net.transport.frames import encode_frame
from p2pool.model import limits
from p2pool.model.machine.checks import Verdict
from tests.net.harness.hosts import listening_at, running
from tests.net.harness.pieces import Pieces


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_real_peer_dials_back_and_says_whether_it_got_through() -> None:
    """At the port that is listened on, and at one where nobody is, or somebody else."""
    port, closed = free_port(), free_port()
    async with running(1) as peer, running(2) as other:
        known = (KnownPeer(peer.key, listening_at(peer)),)
        foreign = int(listening_at(other)[0].rpartition("/")[2])
        with trio.fail_after(60):
            async with listening((f"/ip4/127.0.0.1/tcp/{port}",)) as here:
                found = await observed_host(known, (port, closed, foreign), here)
            assert found.dialled == {port: True, closed: False, foreign: False}
            assert (await observed_host(known)).dialled == {}
            assert peer.network.counters["dial_backs"] == 3


async def test_a_peer_that_does_not_know_the_question_leaves_it_untested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of an earlier version, or one that claims to have dialled and did not."""
    port = free_port()
    for answer in (None, dial_back.REACHED):
        async with running(1) as peer:
            if answer is None:
                del peer.network._host.get_mux().handlers[dial_back.PROTOCOL]
            else:

                async def lie(self: Any, remote: Any, asked: bytes) -> bytes:
                    return dial_back.REACHED

                monkeypatch.setattr(DialBack, "_answer", lie)
            known = (KnownPeer(peer.key, listening_at(peer)),)
            with trio.fail_after(60):
                async with listening((f"/ip4/127.0.0.1/tcp/{port}",)) as here:
                    found = await observed_host(known, (port,), here)
            assert (found.seen, found.dialled) == ("127.0.0.1", {port: None})


class Asked(Pieces):
    """A stream with one question from a host."""

    def __init__(self, asked: bytes, host: str) -> None:
        super().__init__([encode_frame(asked)])
        self.host, self.said = host, b""

    def get_remote_address(self) -> tuple[str, int]:
        """Where the question came from."""
        return self.host, 1

    async def write(self, data: bytes) -> None:
        """The answer."""
        self.said += data

    async def close(self) -> None:
        """Nothing."""

    async def reset(self) -> None:
        """Nothing."""


async def test_a_peer_dials_the_host_that_asks_and_only_so_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One host has its own rate; all hosts together have one, so many hosts are no way around."""
    dialled: list[tuple[str, int]] = []

    async def reaches(host: str, port: int, secret: bytes) -> bool:
        dialled.append((host, port))
        return False

    monkeypatch.setattr(dial_back, "_reaches", reaches)
    server = DialBack(Counter())
    question = bytes(16) + (4001).to_bytes(2, "big")
    for _ in range(2 * limits.DIAL_BACKS_PER_HOST_BURST):
        await server.serve(Asked(question, "203.0.113.7"))
    assert dialled == [("203.0.113.7", 4001)] * limits.DIAL_BACKS_PER_HOST_BURST
    for n in range(2 * limits.DIAL_BACKS_BURST):
        await server.serve(Asked(question, f"198.51.100.{n}"))
    assert len(dialled) <= limits.DIAL_BACKS_BURST + limits.DIAL_BACKS_PER_S
    assert server.counters["dial_backs_refused"] > 0


@pytest.mark.parametrize("asked", [b"x", bytes(18), bytes(17), bytes(19), bytes(60)])
async def test_a_question_that_is_none_is_answered_and_nobody_is_dialled(
    asked: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too short, too long, or port 0."""

    async def reaches(host: str, port: int, secret: bytes) -> bool:
        raise AssertionError

    monkeypatch.setattr(dial_back, "_reaches", reaches)
    stream = Asked(asked, "203.0.113.7")
    await DialBack(Counter()).serve(stream)
    assert stream.said in (b"", encode_frame(dial_back.NOT_NOW))


async def test_who_does_not_know_the_secret_gets_no_word() -> None:
    """And does not count as a peer that got through."""
    port = free_port()
    async with listening((f"/ip4/127.0.0.1/tcp/{port}",)) as here:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(bytes(dial_back.LINE_BYTES))
            with trio.fail_after(10):
                assert await stream.receive_some(10) == b""
        assert not here.heard


PUBLIC = "/ip4/8.8.8.8/tcp/4001"


@pytest.mark.parametrize(
    ("announce", "seen", "dialled", "resolved", "verdict", "words"),
    [
        ((PUBLIC,), "8.8.8.8", {4001: True}, (), Verdict.PASS, "dialled it at port 4001"),
        ((PUBLIC,), "8.8.8.8", {4001: None}, (), Verdict.WARN, "not tested"),
        ((PUBLIC,), "8.8.8.8", {}, (), Verdict.WARN, "not tested"),
        ((PUBLIC,), "", {}, (), Verdict.WARN, "not tested"),
        ((PUBLIC,), "8.8.8.8", {4001: False}, (), Verdict.WARN, "does not get through"),
        ((PUBLIC,), "8.8.8.8", {4001: True, 2: False}, (), Verdict.WARN, "not get through"),
        ((PUBLIC,), "9.9.9.9", {4001: True}, (), Verdict.WARN, "/ip4/9.9.9.9/tcp/4001"),
        ((), "9.9.9.9", {4001: True}, (), Verdict.WARN, "/ip4/9.9.9.9/tcp/4001"),
        ((), "", {}, (), Verdict.WARN, "not tested"),
        (("/dns/a.example/tcp/1",), "9.9.9.9", {1: True}, ("9.9.9.9",), Verdict.PASS, "dialled"),
        (("/dns/a.example/tcp/1",), "9.9.9.9", {1: True}, (), Verdict.WARN, "9.9.9.9"),
    ],
)
def test_only_what_was_dialled_passes(
    announce: tuple[str, ...],
    seen: str,
    dialled: dict[int, bool | None],
    resolved: tuple[str, ...],
    verdict: Verdict,
    words: str,
) -> None:
    """The host that it saw has to be one that is announced, and every port has to answer."""
    listen = ("/ip4/192.168.1.5/tcp/4001",)
    check = address_check(listen, announce, seen, dialled, frozenset(resolved))
    assert (check.verdict, words in check.found + check.todo) == (verdict, True), check
    assert bool(check.todo) is (verdict is not Verdict.PASS)


def test_the_ports_are_those_that_others_would_dial() -> None:
    """Those announced, else those listened on; port 0 is chosen later, so it cannot be tested."""
    listen = ("/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001", "/ip4/127.0.0.1/tcp/0")
    assert ports_to_dial(listen, ()) == (4001,)
    assert ports_to_dial(listen, ("/dns/a.example/tcp/80/p2p/x", PUBLIC)) == (80, 4001)
