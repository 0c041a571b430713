"""`p2pool agent token` makes, lists and revokes tokens, of an agent that runs and of one that does
not."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from p2pool.cli.agent.tokens import create, ls, revoke
from p2pool.cli.main import cli
from p2pool.client.agent_client import AgentClient
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.model.access.tokens import token_digest
from p2pool.model.errors import (
    Conflict,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    P2poolError,
    Unavailable,
)
from tests.api.conftest import Served
from tests.cli.output.held import held
from tests.client.conftest import Commands

thread = trio.to_thread.run_sync
NAMES = ("create", "ls", "revoke")


@pytest.fixture(autouse=True)
def agents_log() -> Iterator[None]:
    """The agent is in this process, and its log would stand in what commands write."""
    with capture_logs():
        yield


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The directory of an agent that has run, and does not."""
    directory = tmp_path / "agent"
    directory.mkdir(mode=0o700)
    (directory / "api.token").touch(mode=0o600)
    (directory / "api.token").write_text("t" * 43 + "\n")
    return directory


def run(directory: Path, *words: str) -> Result:
    """A command about the tokens of the agent in a directory."""
    command = {"create": create, "ls": ls, "revoke": revoke}[words[0]]
    return CliRunner().invoke(
        command, [*words[1:], "--agent", str(directory)], **cli.context_settings
    )


def refused(result: Result, kind: type[P2poolError]) -> str:
    """What a command said that had to fail."""
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


async def test_a_token_of_a_running_agent_opens_it_at_once(
    served: Served, commands: Commands
) -> None:
    """Standard output has the token and nothing else; once revoked it opens nothing."""
    made = await commands(create, "laptop", "--scope", "read", "--for", "30d")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert "It is not shown again." in made.stderr
    assert "for 30d" in made.stderr
    client = AgentClient(served.url, text)
    assert len(await thread(client.nodes)) == 2
    listed = (await commands(ls)).stdout
    assert "laptop" in listed
    assert "api.token" in listed
    assert "in 29d" in listed
    assert text not in listed
    assert (await commands(revoke, "laptop")).stdout == "laptop\n"
    with pytest.raises(NotAllowed):
        await thread(client.nodes)
    refused(await commands(revoke, "laptop"), NotFound)


async def test_documents_have_what_programs_need(commands: Commands, tmp_path: Path) -> None:
    """The token, or the file; never a list that holds one."""
    made = held((await commands(create, "a", "--scope", "metrics", "--json")).stdout)
    assert made.keys() == {"name", "scope", "expires_at_ms", "token", "file"}
    assert (made["scope"], made["expires_at_ms"], made["file"]) == ("metrics", 0, None)
    file = str(tmp_path / "b.token")
    kept = held((await commands(create, "b", "--scope", "read", "--out", file, "--json")).stdout)
    assert (kept["token"], kept["file"]) == (None, file)
    rows = held((await commands(ls, "--json")).stdout)
    assert [one["name"] for one in rows] == ["api.token", "a", "b"]
    assert held((await commands(revoke, "a", "b", "--json")).stdout) == {"revoked": ["a", "b"]}


async def test_a_file_is_its_owners_alone(commands: Commands, tmp_path: Path) -> None:
    """Nothing of the token is on the screen; a file that is there already is left alone, and one
    for which no token was made is not left behind."""
    file = tmp_path / "laptop.token"
    done = await commands(create, "laptop", "--scope", "read", "--out", str(file))
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert text.endswith("\n")
    assert text.strip() not in done.output
    again = await commands(create, "other", "--scope", "read", "--out", str(file))
    assert "already exists" in refused(again, Conflict)
    assert file.read_text() == text
    names = [one["name"] for one in held((await commands(ls, "--json")).stdout)]
    assert "other" not in names
    spare = tmp_path / "spare"
    taken = await commands(create, "laptop", "--scope", "read", "--out", str(spare))
    assert "already" in refused(taken, Conflict)
    assert not spare.exists()
    nowhere = await commands(create, "x", "--scope", "read", "--out", str(tmp_path / "no" / "x"))
    assert "cannot be written" in refused(nowhere, Misconfigured)


def test_of_a_stopped_agent_the_file_is_changed(stopped: Path) -> None:
    """Its next start knows: by digest, in a file that nobody else reads."""
    made = run(stopped, "create", "laptop", "--scope", "read")
    assert made.exit_code == 0, made.output
    (one,) = TokenFile(stopped).load()
    assert one.digest == token_digest(made.stdout.strip())
    assert stat.S_IMODE((stopped / "tokens.json").stat().st_mode) == 0o600
    assert "laptop" in run(stopped, "ls").stdout
    refused(run(stopped, "create", "laptop", "--scope", "read"), Conflict)
    refused(run(stopped, "create", "Laptop", "--scope", "read"), Malformed)
    assert run(stopped, "revoke", "laptop").exit_code == 0
    assert TokenFile(stopped).load() == ()
    refused(run(stopped, "revoke", "laptop"), NotFound)
    with DataDirLock(stopped):
        pass  # It was let go.


@pytest.mark.parametrize("words", [("create", "a", "--scope", "read"), ("ls",), ("revoke", "a")])
def test_a_starting_agents_file_is_left_alone(stopped: Path, words: tuple[str, ...]) -> None:
    """It holds its directory and serves no API yet: nobody but it may write there."""
    with DataDirLock(stopped):
        assert "it starts" in refused(run(stopped, *words), Unavailable)
    assert not (stopped / "tokens.json").exists()


def test_after_a_crash_the_file_is_changed(stopped: Path) -> None:
    """The URL is there still, and nobody answers."""
    (stopped / "api.url").write_text("http://127.0.0.1:9\n")
    assert run(stopped, "create", "a", "--scope", "read").exit_code == 0
    assert len(TokenFile(stopped).load()) == 1


def test_where_no_agent_has_run_there_are_no_tokens(tmp_path: Path) -> None:
    """A directory that is somebody's is not made one of an agent."""
    said = refused(run(tmp_path, "create", "a", "--scope", "read"), Unavailable)
    assert "p2pool agent run" in said
    assert list(tmp_path.iterdir()) == []


def test_a_token_file_means_an_agent_that_answers(stopped: Path, tmp_path: Path) -> None:
    """Otherwise the option would be accepted and ignored."""
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("t" * 43)
    refused(run(stopped, "ls", "--token-file", str(file)), Unavailable)


@pytest.mark.parametrize(
    "words",
    [
        ("create", "a"),
        ("create", "a", "--scope", "write"),
        ("create", "a", "--scope", "read", "--for", "0"),
        ("create", "a", "--scope", "read", "--for", "100000d"),
        ("revoke",),
    ],
)
def test_wrong_usage_makes_no_token(stopped: Path, words: tuple[str, ...]) -> None:
    """There is no default scope, and no life without an end that somebody meant otherwise."""
    assert run(stopped, *words).exit_code == 2
    assert not (stopped / "tokens.json").exists()


def test_the_help_says_what_each_scope_opens() -> None:
    """Where somebody chooses one."""
    said = CliRunner().invoke(create, ["--help"], **cli.context_settings).stdout
    for word in ("metrics", "read", "operate", "volumes", "signed"):
        assert word in said
