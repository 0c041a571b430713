"""A served API with a fake agent behind it, on a real socket."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.api.server import ApiSettings, serve_api
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_in
from p2pool.drivers.keys.keystore import load_or_make_token
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.model.ports.tokens import TokenStore
from tests.api.fakes import FakePort


@attrs.define
class Served:
    """The port behind the API, a client of it, and where it is."""

    port: FakePort
    client: AgentClient
    url: str
    token: str
    directory: Path

    @property
    def address(self) -> tuple[str, int]:
        """For raw sockets."""
        host, _, number = self.url.rpartition("/")[2].rpartition(":")
        return host, int(number)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The API, until the test ends."""
    async with serving(tmp_path, ApiSettings("127.0.0.1:0")) as found:
        yield found


@asynccontextmanager
async def serving(
    tmp_path: Path,
    settings: ApiSettings,
    *,
    counters: Counter[str] | None = None,
    store: TokenStore | None = None,
) -> AsyncIterator[Served]:
    """The API with these settings. `store`: of its tokens, by default the directory's file."""
    port, token = FakePort(), load_or_make_token(tmp_path)
    kept = TokenFile(tmp_path) if store is None else store
    async with trio.open_nursery() as nursery:
        url = await nursery.start(
            lambda task_status: serve_api(
                *(port, settings, tmp_path, token),
                counters=counters,
                token_store=kept,
                task_status=task_status,
            )
        )
        found = agent_in(tmp_path)
        assert found.url == url
        yield Served(port, AgentClient(url, found.token, timeout_s=20), url, found.token, tmp_path)
        nursery.cancel_scope.cancel()


async def exchange(served: Served, text: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a request written by hand."""
    async with await trio.open_tcp_stream(*served.address) as stream:
        await stream.send_all(text.replace("\n", "\r\n").encode())
        raw = b""
        with trio.fail_after(10):
            while piece := await stream.receive_some():
                raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body
