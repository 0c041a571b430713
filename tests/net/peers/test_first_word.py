"""What we dial, and is no agent, hears one line of us, which nobody chose."""

import pytest
import trio

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.reachability.dial_back import LINE
from tests.net.harness.hosts import running


@pytest.mark.parametrize("first_word", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", LINE[:-1] + b"x"])
async def test_a_service_that_is_no_agent_gets_the_line_that_opens_a_handshake(
    first_word: bytes,
) -> None:
    """One that waits for us to speak, as HTTP does, one that greets, one that is almost ours."""
    heard: list[bytes] = []
    done = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if first_word:
                await stream.send_all(first_word)
            with trio.move_on_after(0.7):
                try:
                    heard.append(await stream.receive_some(100))
                except trio.BrokenResourceError:
                    heard.append(b"")
        done.set()

    async with trio.open_nursery() as nursery, running(2) as other:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        known = (KnownPeer(other.key, (f"/ip4/127.0.0.1/tcp/{port}",)),)
        async with running(1, peers=known):
            with trio.fail_after(10):
                await done.wait()
        nursery.cancel_scope.cancel()
    assert b"".join(heard) in (b"", LINE)
    assert len(heard) <= 1
