"""An agent below a path of a reverse proxy: the same client, and the same document, through it."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from p2pool.api.server import ApiSettings
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import FoundAgent
from p2pool.drivers.config.schema import ApiConfig
from p2pool.model.errors import Misconfigured
from p2pool.model.ports.view import Event
from tests.api.access.requests import ask
from tests.api.conftest import Served, serving
from tests.api.http.conftest import DAY, made
from tests.api.remote.certificates import HERE
from tests.api.remote.proxy import Change, proxied

PREFIX = "/p2pool"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "remote.md"
CHANGES: dict[str, Change] = {
    "passes it on": lambda path: path,
    "cuts it off": lambda path: path.removeprefix(PREFIX),
}
thread = trio.to_thread.run_sync


@pytest.fixture
async def below(tmp_path: Path) -> AsyncIterator[Served]:
    """An agent that is shown below a path, by a name."""
    settings = ApiSettings("127.0.0.1:0", hosts=("pool.example.org",), path_prefix=PREFIX)
    async with serving(tmp_path, settings) as found:
        found.port.happened = [Event(1, 2, 3, 4, "task", "x", "it runs")]
        yield found


async def everything(client: AgentClient) -> None:
    """A read, pages, a write, a stream, and the document's word where the routes are."""
    assert len(await thread(client.nodes)) == 2
    assert (await thread(client.pool))["name"] == "demo"
    await thread(client.create_token, "a-token", "read")
    await thread(client.revoke_token, "a-token")
    events = client.events("1.1.0")
    assert (await thread(next, events))["text"] == "it runs"
    await thread(events.close)  # type: ignore[attr-defined]
    document = await thread(client.get, "/v1/openapi.json")
    assert [one["url"] for one in document["servers"]] == [PREFIX]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("host", ["127.0.0.1", "pool.example.org"])
async def test_it_works_through_a_proxy(below: Served, change: str, host: str) -> None:
    """Whether that passes the path on or cuts it off, and by which name it asks; and beside it."""
    with proxied(below.address, CHANGES[change], host) as url:
        await everything(AgentClient(url + PREFIX, below.token, timeout_s=20))
    await everything(AgentClient(below.url, below.token, timeout_s=20))


async def test_a_proxy_by_another_name_is_refused(below: Served) -> None:
    """With the setting that would let it."""
    with proxied(below.address, CHANGES["cuts it off"], "evil.example") as url:
        with pytest.raises(Exception, match=r"\[api\] hosts"):
            await thread(AgentClient(url + PREFIX, below.token).nodes)


@pytest.mark.parametrize(
    "path",
    [
        *(f"{PREFIX}{PREFIX}/v1/pool", "/p2poolx/v1/pool", "/%702pool/v1/pool", f"{PREFIX}v1/pool"),
        *(f"/{PREFIX}/v1/pool", f"{PREFIX}/../v1/pool", f"{PREFIX}", "/P2POOL/v1/pool"),
    ],
)
async def test_only_the_path_itself_is_cut(below: Served, path: str) -> None:
    """What looks like it is another route, which there is not."""
    assert (await ask(below, below.token, "get", path)).status == 404


async def test_tokens_are_judged_below_it_too(below: Served) -> None:
    """The path changes nothing about who may what."""
    reader = (await thread(below.client.create_token, "reader", "read"))["token"]
    for path, token, status in (
        ("/v1/pool", None, 401),
        ("/v1/pool", reader, 200),
        ("/v1/tokens", reader, 403),
        ("/v1/health", None, 200),
    ):
        assert (await ask(below, token, "get", PREFIX + path)).status == status, path


async def test_a_header_of_a_proxy_changes_nothing(served: Served) -> None:
    """Anybody can send one."""
    async with await trio.open_tcp_stream(*served.address) as stream:
        await stream.send_all(
            b"GET /p2pool/v1/pool HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Prefix: /p2pool\r\n"
            + f"Authorization: Bearer {served.token}\r\nConnection: close\r\n\r\n".encode()
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "given",
    ["p2pool", "/p2pool/", "/", "/a//b", "/../a", "/a b", "/v1", "/v1/x", "/metrics", "/%41"],
)
def test_a_prefix_that_is_none_is_refused(given: str) -> None:
    """At the start, with what it may be."""
    with pytest.raises(ValueError, match=r"path|routes"):
        ApiConfig(path_prefix=given)


@pytest.mark.parametrize(
    "url", ["http://a/v1", "http://a/x/../y", "http://a//x", "http://a/x?y=1", "http://a/x#y"]
)
def test_a_url_that_is_no_agents_is_refused(url: str) -> None:
    """A query or a route in it would be accepted and ignored."""
    with pytest.raises(Misconfigured):
        AgentClient(url, "t" * 43)


# --- nginx --------------------------------------------------------------------------------------


@contextmanager
def nginx(directory: Path, agent: tuple[str, int], files: tuple[Path, Path]) -> Iterator[int]:
    """nginx with TLS and the part of its configuration that docs/remote.md has."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    location = found[1].replace("127.0.0.1:8470", f"{agent[0]}:{agent[1]}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    temporary = " ".join(
        f"{kind}_temp_path {directory};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = directory / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port} ssl; server_name pool.example.org;\n"
        f"ssl_certificate {files[0]}; ssl_certificate_key {files[1]};\n{location} }} }}\n"
    )
    program = subprocess.Popen(["nginx", "-c", str(path), "-p", str(directory)])
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert program.poll() is None, "nginx ended"
                assert time.monotonic() < until, "nginx does not listen"
                time.sleep(0.02)
        yield port
    finally:
        program.terminate()
        program.wait(20)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx here")
async def test_nginx_as_the_page_has_it(below: Served, tmp_path: Path) -> None:
    """TLS, a path and a name of the proxy's own, before an agent that knows only loopback."""
    directory = tmp_path / "nginx"
    directory.mkdir()
    files = made(directory, HERE, lasts=DAY)
    with nginx(directory, below.address, files) as port:
        url = f"https://127.0.0.1:{port}{PREFIX}"
        await everything(AgentClient.of(FoundAgent(url, below.token, ca=files[0]), timeout_s=20))
        plain = AgentClient.of(FoundAgent(f"https://127.0.0.1:{port}", below.token, ca=files[0]))
        with pytest.raises(Misconfigured, match="404, and no reason"):
            await thread(plain.nodes)


def test_the_page_speaks_of_the_same_path() -> None:
    """As the setting that it shows, and the proxies."""
    text = PAGE.read_text(encoding="utf-8")
    assert f'path_prefix = "{PREFIX}"' in text
    assert f"location {PREFIX}/" in text
    assert f"handle {PREFIX}/*" in text
    assert urlsplit("https://pool.example.org/p2pool").path == PREFIX
