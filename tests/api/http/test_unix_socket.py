"""Commands of the same machine go by the unix socket in the data directory, which nobody else can
fill, and by TCP where there is none."""

import os
import socket
import stat
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from p2pool.api.listeners import unix_listener
from p2pool.api.server import ApiSettings
from p2pool.cli.agent.group import status
from p2pool.cli.main import cli
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_directory, agent_in, find_agent
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.model.errors import Misconfigured, NotAllowed, Unavailable
from p2pool.model.ports.view import Event
from tests.api.conftest import Served, serving
from tests.api.http.strangers import until_closed

thread = trio.to_thread.run_sync
ANY = ApiSettings("127.0.0.1:0")


async def test_a_command_goes_by_the_socket_first(served: Served) -> None:
    """With the port closed to it, the directory's agent still answers; the socket is its owner's
    alone, and goes with the agent."""
    path = served.directory / "api.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (served.directory / "api.url").write_text("http://127.0.0.1:9\n")
    client = AgentClient.of(find_agent(str(served.directory), {}))
    assert len(await thread(client.nodes)) == 2
    assert client.socket == path
    served.port.happened = [Event(1, 2, 0, 7, "task", "t", "event 0")]
    events = client.events("1.1.0")
    assert (await thread(next, events))["id"] == "1.2.0"
    await thread(events.close)  # type: ignore[attr-defined]


async def test_the_socket_is_named_like_a_url(served: Served) -> None:
    """`--agent unix:///path` takes the token that lies beside it, or the one that is named."""
    path = served.directory / "api.sock"
    found = find_agent(f"unix://{path}", {})
    assert len(await thread(AgentClient.of(found).nodes)) == 2
    wrong = find_agent(f"unix://{path}", {"P2POOL_TOKEN": "x" * 40})
    with pytest.raises(NotAllowed, match=r"api\.token"):
        await thread(AgentClient.of(wrong).nodes)
    assert agent_directory(f"unix://{path}", {}) == served.directory


@pytest.mark.parametrize("text", ["unix://api.sock", "unix:/api.sock", "unix://", "UNIX:///x"])
def test_a_socket_without_a_whole_path_is_refused(text: str) -> None:
    """With how to write it."""
    with pytest.raises(Misconfigured, match="unix:///"):
        find_agent(text, {"P2POOL_TOKEN": "t" * 40})


async def test_an_agent_without_a_socket_is_reached_by_tcp(served: Served) -> None:
    """An older agent has none, and one that ended without warning before it leaves one behind."""
    path = served.directory / "api.sock"
    path.unlink()
    assert agent_in(served.directory).socket is None
    assert len(await thread(AgentClient.of(agent_in(served.directory)).nodes)) == 2
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    client = AgentClient.of(agent_in(served.directory))
    with DataDirLock(served.directory):
        (served.directory / "api.url").write_text(served.url + "\n")
        assert len(await thread(client.nodes)) == 2
    with pytest.raises(Unavailable, match="No agent answers at unix://"):
        await thread(AgentClient.of(find_agent(f"unix://{path}", {})).nodes)


def test_who_takes_the_port_of_an_agent_that_ended_gets_no_token(tmp_path: Path) -> None:
    """It ended without warning, so its URL and its socket are there still; nobody holds its
    directory, and at the socket nobody answers. The next agent removes the URL before all else."""
    (tmp_path / "api.token").write_text("t" * 64)
    with socket.create_server(("127.0.0.1", 0)) as thief, socket.socket(socket.AF_UNIX) as left:
        thief.settimeout(0.2)
        left.bind(str(tmp_path / "api.sock"))
        (tmp_path / "api.url").write_text(f"http://127.0.0.1:{thief.getsockname()[1]}\n")
        client = AgentClient.of(agent_in(tmp_path), timeout_s=1)
        with pytest.raises(Unavailable, match="No agent answers") as told:
            client.nodes()
        with pytest.raises(TimeoutError):
            thief.accept()
    assert f"--data-dir {tmp_path}" in told.value.hint
    with DataDirLock(tmp_path), pytest.raises(Unavailable, match="it starts"):
        agent_in(tmp_path)


async def test_the_token_is_asked_for_there_too(served: Served) -> None:
    """A socket that somebody mounts into a container opens nothing."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(10)
        opened.connect(str(served.directory / "api.sock"))
        opened.sendall(b"GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await thread(until_closed, opened)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("name", ["d" * 150, "Löwe " * 30, "ж"])
async def test_a_directory_of_any_name_has_one(tmp_path: Path, name: str) -> None:
    """Longer than the system takes for a socket, and not ASCII: reached through the directory."""
    directory = tmp_path / name
    directory.mkdir()
    async with serving(directory, ANY) as served:
        (directory / "api.url").write_text("http://127.0.0.1:9\n")
        client = AgentClient.of(agent_in(served.directory))
        assert len(await thread(client.nodes)) == 2
        by_name = find_agent(f"unix://{directory}/api.sock", {})
        assert len(await thread(AgentClient.of(by_name).nodes)) == 2
    assert not (directory / "api.sock").exists()


def test_what_an_agent_left_is_removed(tmp_path: Path) -> None:
    """A socket at which nobody answers; one that another process serves stays."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with unix_listener(tmp_path) as listener:
        assert listener is not None
        with pytest.raises(Misconfigured, match="Another process answers"), unix_listener(tmp_path):
            pass
    assert not path.exists()


def test_what_is_not_the_agents_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a link and somebody else's socket are said, and stay."""
    path = tmp_path / "api.sock"
    path.write_text("mine")
    with pytest.raises(Misconfigured, match="no socket"), unix_listener(tmp_path):
        pass
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured, match="no socket"), unix_listener(tmp_path):
        pass
    path.unlink()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Misconfigured, match="another user"), unix_listener(tmp_path):
        pass
    assert path.exists()


def test_a_socket_of_a_later_agent_stays(tmp_path: Path) -> None:
    """An agent that ends takes away its own only."""
    path = tmp_path / "api.sock"
    with unix_listener(tmp_path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(str(path))
    assert path.is_socket()


async def test_where_no_socket_can_be_the_api_listens_on_tcp_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so in the log."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "listen", _only_tcp(refuse))
    with capture_logs() as logged:
        async with serving(tmp_path, ANY) as served:
            found = agent_in(served.directory)
            assert found.socket is None
            assert len(await thread(AgentClient.of(found).nodes)) == 2
    assert "api_without_unix_socket" in [line["event"] for line in logged]


def _only_tcp(refuse: object) -> object:
    listen = socket.socket.listen

    def instead(self: socket.socket, *backlog: int) -> None:
        if self.family == socket.AF_UNIX:
            refuse()  # type: ignore[operator]
        listen(self, *backlog)

    return instead


async def test_the_status_says_by_which_way_it_came(served: Served) -> None:
    """The socket, where that was it."""
    from click.testing import CliRunner

    words = ["--agent", str(served.directory)]
    shown = await thread(lambda: CliRunner().invoke(status, words, **cli.context_settings).output)
    assert f"{served.directory}/api.sock" in shown.replace("\n", "")
