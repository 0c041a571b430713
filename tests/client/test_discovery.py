"""A command finds its agent and token where the agent put them, or says what to do."""

import os
from pathlib import Path

import platformdirs
import pytest

from p2pool.client.discovery import FoundAgent, agent_in, default_directory, find_agent
from p2pool.client.errors import error_of
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.model.errors import BadSpec, Misconfigured, NoLeader, NotFound, Refusal, Unavailable

URL, TOKEN = "http://127.0.0.1:8650", "t" * 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An agent's data directory."""
    (tmp_path / "api.url").write_text(URL + "\n")
    (tmp_path / "api.token").touch(mode=0o600)
    (tmp_path / "api.token").write_text(TOKEN + "\n")
    return tmp_path


def test_an_agent_is_found_by_argument_then_environment_then_default(directory: Path) -> None:
    """The argument wins; nothing at all means this user's own agent."""
    found = FoundAgent(URL, TOKEN)
    assert find_agent(str(directory), {"P2POOL_AGENT": "/nowhere"}) == found
    assert find_agent(None, {"P2POOL_AGENT": str(directory)}) == found
    assert find_agent(None, {"P2POOL_DATA_DIR": str(directory)}) == found
    assert default_directory({}).name == "p2pool"
    assert TOKEN not in repr(found)


def test_a_url_takes_its_token_from_a_file_or_from_the_environment(directory: Path) -> None:
    """Never from an argument, which everybody on the machine could read."""
    other = "http://10.0.0.1:1/"
    token_file = str(directory / "api.token")
    want = FoundAgent("http://10.0.0.1:1", TOKEN)
    assert find_agent(other, {"P2POOL_TOKEN_FILE": token_file}) == want
    assert find_agent(other, {"P2POOL_TOKEN": TOKEN}) == want
    assert find_agent(URL, {"P2POOL_DATA_DIR": str(directory)}) == FoundAgent(URL, TOKEN)
    with pytest.raises(Misconfigured, match="P2POOL_TOKEN_FILE"):
        find_agent(other, {"P2POOL_DATA_DIR": str(directory)})
    with pytest.raises(Misconfigured, match="neither"):
        find_agent("ftp://somewhere", {})


def test_where_no_agent_runs_it_says_how_to_start_one(tmp_path: Path) -> None:
    """A directory that is not there is one in which no agent runs."""
    with pytest.raises(Unavailable) as caught:
        agent_in(tmp_path / "no ne")
    assert f": p2pool agent run --data-dir '{tmp_path / 'no ne'}';" in caught.value.hint


def test_an_agent_that_has_no_api_yet_is_not_said_to_be_away(tmp_path: Path) -> None:
    """A starting agent holds its directory; one that has ended does not."""
    with DataDirLock(tmp_path), pytest.raises(Unavailable, match=f"process {os.getpid()}"):
        agent_in(tmp_path)
    with pytest.raises(Unavailable, match="p2pool agent run"):
        agent_in(tmp_path)


def test_problems_come_back_as_the_errors_they_were() -> None:
    """By code; what is no problem document by its status."""
    assert type(error_of(503, {"code": "no-leader", "detail": "x", "hint": "y"})) is NoLeader
    bad = error_of(422, {"code": "bad-spec", "detail": "x", "problems": ["a", "b"]})
    assert isinstance(bad, BadSpec)
    assert bad.problems == ("a", "b")
    assert type(error_of(404, "text")) is NotFound
    assert type(error_of(502, {})) is Unavailable
    assert type(error_of(418, {"code": "from-the-future", "detail": "x"})) is Refusal


@pytest.mark.parametrize(
    ("data_home", "home"),
    [("", "/home/me"), ("/data", "/home/me"), ("relative", "/home/me"), ("/data", "")],
)
def test_the_default_directory_is_where_the_agent_has_it(
    data_home: str, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found here without the library that the agent asks."""
    for name, value in (("XDG_DATA_HOME", data_home), ("HOME", home)):
        monkeypatch.setenv(name, value)
    assert default_directory({}) == platformdirs.user_data_path("p2pool")
