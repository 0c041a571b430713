"""The engine is the one that the docker command would ask: by variable, context, or its socket."""

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.dev.engine.runtime import choose
from p2pool.drivers.containers.docker.engine import address
from p2pool.drivers.containers.docker.engine.address import engine_address
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import engine_errors
from p2pool.model import limits
from p2pool.model.errors import RuntimeUnavailable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any choice made."""
    for name in ("HOST", "CONTEXT", "CONFIG", "TLS_VERIFY", "CERT_PATH"):
        monkeypatch.delenv(f"DOCKER_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(address, "DEFAULT_URL", f"unix://{tmp_path}/none.sock")
    (tmp_path / ".docker").mkdir()
    return tmp_path / ".docker"


def add_context(home: Path, name: str, meta: Any) -> Path:
    """A context as docker keeps it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    directory = home / "contexts" / "meta" / digest
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text(json.dumps(meta))
    return home / "contexts" / "tls" / digest / "docker"


def at(url: Any) -> dict[str, Any]:
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": url}}}


def use(home: Path, name: Any) -> None:
    """`docker context use`."""
    (home / "config.json").write_text(json.dumps({"currentContext": name, "auths": {}}))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:abc", "foo", "tcp://[::1", "tcp://127.0.0.1", "wss://h:1", "tcp://h:x"],
)
@pytest.mark.parametrize("place", ["setting", "DOCKER_HOST", "context"])
def test_an_address_that_is_none_is_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str, place: str
) -> None:
    """Whatever names it; the SDK raises errors that nobody expects."""
    if place == "DOCKER_HOST":
        monkeypatch.setenv("DOCKER_HOST", url)
    elif place == "context":
        add_context(home, "bad", at(url))
        use(home, "bad")
    with pytest.raises(RuntimeUnavailable, match="not the address of an engine"):
        engine_address(url if place == "setting" else "")


@pytest.mark.parametrize("scheme", ["tcp", "ssh"])
def test_a_password_in_the_address_is_not_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """No engine takes one, and the refusal is for people."""
    monkeypatch.setenv("DOCKER_HOST", f"{scheme}://me:open-sesame@engine.example:2375")
    with pytest.raises(RuntimeUnavailable) as raised:
        engine_address()
    assert "open-sesame" not in str(raised.value)


def test_each_way_to_name_an_engine_and_which_comes_first(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docker has it: the setting, DOCKER_HOST, DOCKER_CONTEXT, the context in use, a socket."""
    assert engine_address().url == address.DEFAULT_URL
    use(home, "default")
    assert engine_address().url == address.DEFAULT_URL
    add_context(home, "rootless", at("unix:///run/user/1000/docker.sock"))
    use(home, "rootless")
    found = engine_address()
    assert (found.url, "'rootless'" in found.named) == ("unix:///run/user/1000/docker.sock", True)
    assert found.options == {"base_url": found.url}
    add_context(home, "other", at("unix:///other.sock"))
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert engine_address().url == "unix:///other.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert engine_address().url == address.DEFAULT_URL
    monkeypatch.setenv("DOCKER_HOST", "unix:///host.sock")
    assert engine_address().url == "unix:///host.sock"
    assert engine_address("unix:///given.sock").url == "unix:///given.sock"


def test_a_client_keeps_the_engine_that_it_found(home: Path) -> None:
    """Its containers stay there, whatever context somebody uses next."""
    add_context(home, "one", at("unix:///one.sock"))
    use(home, "one")
    client = DockerClient()
    assert client.address == "unix:///one.sock"
    use(home, "default")
    assert client.address == "unix:///one.sock"


def test_docker_config_moves_all_of_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts and the choice among them."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    add_context(moved, "far", at("tcp://192.0.2.7:2376"))
    use(moved, "far")
    monkeypatch.setenv("DOCKER_CONFIG", str(moved))
    assert engine_address().url == "tcp://192.0.2.7:2376"


@pytest.mark.parametrize(
    ("config", "meta", "why"),
    [
        ({"currentContext": "x"}, None, "There is no Docker context 'x'"),
        ({"currentContext": 5}, None, "currentContext is no text"),
        ({"currentContext": "x"}, {}, "names no engine"),
        ({"currentContext": "x"}, {"Endpoints": {"kubernetes": {}}}, "names no engine"),
        ({"currentContext": "x"}, at(5), "names no engine"),
        ({"currentContext": "x"}, at(""), "names no engine"),
        ({"currentContext": "x"}, [], "not a JSON object"),
        ([], None, "not a JSON object"),
        ("{" * 5000, None, "not a JSON object"),
    ],
)
def test_a_context_that_leads_nowhere_is_told_by_its_name(
    config: Any, meta: Any, why: str, home: Path
) -> None:
    """Another engine in its place would run the tasks where nobody looks for them."""
    text = config if isinstance(config, str) else json.dumps(config)
    (home / "config.json").write_text(text)
    if meta is not None:
        add_context(home, "x", meta)
    with pytest.raises(RuntimeUnavailable, match=why):
        engine_address()


def test_files_that_are_too_long_or_not_readable_are_told(home: Path) -> None:
    """A directory in a file's place is one of them."""
    (home / "config.json").write_text(" " * (limits.CONFIG_MAX_BYTES + 1) + "{}")
    with pytest.raises(RuntimeUnavailable, match="not a JSON object"):
        engine_address()
    (home / "config.json").unlink()
    (home / "config.json").mkdir()
    with pytest.raises(RuntimeUnavailable, match="cannot be read"):
        engine_address()


def test_a_contexts_certificates_come_along(home: Path) -> None:
    """Over TCP; those that cannot be used are told."""
    keys = add_context(home, "x", at("tcp://192.0.2.7:2376"))
    use(home, "x")
    keys.mkdir(parents=True)
    (keys / "ca.pem").write_text("x")
    assert engine_address().options["tls"].ca_cert == str(keys / "ca.pem")


async def test_a_rootless_engine_that_nobody_named_is(home: Path, tmp_path: Path) -> None:
    """By the agent's error, and by a development pool that runs its tasks as processes."""
    with socket.socket(socket.AF_UNIX) as rootless:
        (tmp_path / "run").mkdir()
        rootless.bind(str(tmp_path / "run" / "docker.sock"))
        with pytest.raises(RuntimeUnavailable) as raised, engine_errors():
            raise FileNotFoundError(2, "No such file or directory")
        assert f"unix://{tmp_path}/run/docker.sock" in raised.value.hint
        said: list[str] = []
        with trio.fail_after(30):
            assert (await choose(tmp_path / "pool", said.append))[0] == "process"
    assert f"a rootless one listens at {tmp_path}/run/docker.sock" in "\n".join(said)
    assert "apt-get install docker.io" not in "\n".join(said)
