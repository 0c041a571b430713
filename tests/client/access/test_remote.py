"""A command reaches an agent elsewhere by URL, token file and authority, and says what is wrong."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from p2pool.cli import main
from p2pool.cli.main import cli
from p2pool.client import transport
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import FoundAgent, find_agent
from p2pool.drivers.input_files import forget_input
from p2pool.model.errors import Misconfigured, P2poolError
from tests.api.conftest import Served, serving
from tests.api.http.conftest import DAY, made
from tests.api.remote.certificates import HERE, LONG, new_directory, settings

thread = trio.to_thread.run_sync


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[tuple[Served, dict[str, str]]]:
    """An API with a certificate for 127.0.0.1, and how to name it from elsewhere."""
    files = made(tmp_path, HERE, lasts=LONG)
    directory = tmp_path / "agent"
    directory.mkdir(mode=0o700)
    async with serving(directory, settings(files)) as served:
        token = tmp_path / "token"
        token.touch(mode=0o600)
        token.write_text(served.token + "\n")
        yield served, {"url": served.url, "token": str(token), "ca": str(files[0])}


async def run(*words: str, given: str = "", **environment: str) -> Result:
    """A command line, with nothing but this in its environment."""
    env = {name: None for name in os.environ if name.startswith("P2POOL_")} | environment
    forget_input()
    return await thread(
        lambda: CliRunner().invoke(cli, words, input=given, env=env, **cli.context_settings)
    )


def said(result: Result) -> str:
    """The error and what to do about it."""
    assert isinstance(result.exception, P2poolError), result.output
    return str(result.exception)


async def test_three_options_reach_it(remote: tuple[Served, dict[str, str]]) -> None:
    """And so do three variables, or one and standard input."""
    _, at = remote
    options = ["--agent", at["url"], "--token-file", at["token"], "--ca", at["ca"]]
    for result in (
        await run("node", "ls", *options),
        await run(
            "node", "ls", P2POOL_AGENT=at["url"], P2POOL_TOKEN_FILE=at["token"], P2POOL_CA=at["ca"]
        ),
        await run(
            *("node", "ls", "--token-file", "-"),
            given=Path(at["token"]).read_text(),
            P2POOL_AGENT=at["url"],
            P2POOL_CA=at["ca"],
        ),
    ):
        assert result.exit_code == 0, result.output
        assert "healthy" in result.output


async def test_options_go_before_the_environment(remote: tuple[Served, dict[str, str]]) -> None:
    """A token that is wrong in the one is not tried where the other says a good one."""
    _, at = remote
    environment = {"P2POOL_AGENT": at["url"], "P2POOL_CA": at["ca"], "P2POOL_TOKEN": "x" * 43}
    assert "missing or wrong" in said(await run("node", "ls", **environment))
    good = await run("node", "ls", "--token-file", at["token"], **environment)
    assert good.exit_code == 0, good.output


async def test_a_token_opens_an_agent_of_this_machine_too(served: Served, tmp_path: Path) -> None:
    """By its directory: with the scope of that token, not of api.token, which lies there."""
    text = (await thread(served.client.create_token, "scraper", "metrics"))["token"]
    file = tmp_path / "scraper"
    file.touch(mode=0o600)
    file.write_text(text)
    result = await run("node", "ls", "--agent", str(served.directory), "--token-file", str(file))
    assert "has the scope metrics, and this needs read" in said(result)


@pytest.mark.parametrize(
    ("content", "mode", "wrong"),
    [
        (None, 0o600, "cannot be read: No such file"),
        (b"", 0o600, "no token"),
        (b"\n", 0o600, "no token"),
        (b"a" * 43 + b"\n" + b"b" * 43, 0o600, "more than a token"),
        (b"two words", 0o600, "more than a token"),
        (b"a" * 43, 0o644, "Others can read the token file"),
        (b"a" * 43, 0o640, "chmod 600"),
        (b"\xff\xfe", 0o600, "characters that no token has"),
    ],
)
async def test_a_token_file_that_is_none(
    tmp_path: Path, content: bytes | None, mode: int, wrong: str
) -> None:
    """By option and by variable, before anything is sent."""
    file = tmp_path / "my token"
    if content is not None:
        file.touch(mode=0o600)
        file.write_bytes(content)
        file.chmod(mode)
    url = "http://127.0.0.1:9"
    by_option = await run("node", "ls", "--agent", url, "--token-file", str(file))
    assert wrong in said(by_option)
    assert wrong in said(await run("node", "ls", P2POOL_AGENT=url, P2POOL_TOKEN_FILE=str(file)))


async def test_a_pipe_is_no_file_that_others_read(remote: tuple[Served, dict[str, str]]) -> None:
    """`--token-file <(pass show agent)`."""
    served, at = remote
    reads, writes = os.pipe()
    os.write(writes, served.token.encode())
    os.close(writes)
    try:
        result = await run(
            *("node", "ls", "--agent", at["url"], "--ca", at["ca"]),
            *("--token-file", f"/dev/fd/{reads}"),
        )
    finally:
        os.close(reads)
    assert result.exit_code == 0, result.output


async def test_each_fault_of_a_certificate_has_its_words(
    tmp_path: Path, remote: tuple[Served, dict[str, str]]
) -> None:
    """Whom nobody here trusts, another authority, another name, one that is over."""
    served, at = remote
    served_by = FoundAgent(at["url"], served.token)
    with pytest.raises(Misconfigured, match=r"nobody whom this machine trusts.*--ca FILE"):
        await thread(AgentClient.of(served_by).nodes)
    other = made(new_directory(tmp_path / "other"), HERE, lasts=LONG)
    served_by.ca = other[0]
    with pytest.raises(Misconfigured, match=f"signed by nobody whom {other[0]} trusts"):
        await thread(AgentClient.of(served_by).nodes)
    named = AgentClient.of(
        FoundAgent(at["url"].replace("127.0.0.1", "localhost"), served.token, ca=Path(at["ca"]))
    )
    with pytest.raises(Misconfigured, match="it is not for localhost"):
        await thread(named.nodes)
    over = made(new_directory(tmp_path / "over"), HERE, lasts=-DAY)
    directory = new_directory(tmp_path / "late")
    async with serving(directory, settings(over)) as late:
        found = FoundAgent(late.url, late.token, ca=over[0])
        with pytest.raises(Misconfigured, match=r"it has expired.*without a restart"):
            await thread(AgentClient.of(found).nodes)


@pytest.mark.parametrize(
    ("content", "wrong"), [(None, "No such file"), ("no certificate", "holds no certificate")]
)
async def test_an_authority_that_is_none(
    tmp_path: Path, remote: tuple[Served, dict[str, str]], content: str | None, wrong: str
) -> None:
    """Named as what it should be."""
    _, at = remote
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    words = ["node", "ls", "--agent", at["url"], "--token-file", at["token"], "--ca", str(file)]
    assert wrong in said(await run(*words))


async def test_an_authority_without_a_url_is_refused(served: Served) -> None:
    """It would be accepted and ignored. The variable is for whichever agents need it."""
    words = ["node", "ls", "--agent", str(served.directory)]
    assert "not named by one" in said(await run(*words, "--ca", "ca.pem"))
    assert (await run(*words, P2POOL_CA="ca.pem")).exit_code == 0


@pytest.mark.parametrize("url", ["http://10.1.2.3:8470", "http://[2001:db8::1]:8470"])
async def test_no_token_goes_out_in_the_clear(url: str) -> None:
    """Without TLS only this machine gets it; nothing is even connected."""
    wrong = said(await run("node", "ls", "--agent", url, P2POOL_TOKEN="t" * 43))
    assert "without TLS others could read the token" in wrong
    assert "P2POOL_ALLOW_HTTP=1" in wrong


async def test_a_name_is_judged_by_where_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is connected, and then nothing is sent; unless somebody allowed it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        monkeypatch.setattr(transport, "_peer", lambda _: "192.0.2.7")
        url = f"http://localhost:{server.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(thread, lambda: heard.append(_first(server)))
            assert "without TLS" in said(
                await run("node", "ls", "--agent", url, P2POOL_TOKEN="t" * 43)
            )
        assert heard == [b""]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(thread, lambda: heard.append(_first(server)))
            await run(*("node", "ls", "--agent", url), P2POOL_TOKEN="t" * 43, P2POOL_ALLOW_HTTP="1")
        assert heard[1].startswith(b"GET /v1/nodes")


def _first(server: socket.socket) -> bytes:
    with server.accept()[0] as opened:
        return opened.recv(65536)


def test_what_allows_it_is_said_in_one_way() -> None:
    """`true` and `yes` are not accepted and ignored."""
    with pytest.raises(Misconfigured, match="P2POOL_ALLOW_HTTP"):
        find_agent("http://127.0.0.1:1", {"P2POOL_ALLOW_HTTP": "yes", "P2POOL_TOKEN": "t" * 43})


def test_no_option_takes_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody on the machine could read it."""
    assert main.run(["node", "ls", "--token", "x"]) == 2
    assert "--token-file" in capsys.readouterr().err
