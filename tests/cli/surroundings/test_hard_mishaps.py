"""Output that cannot be written and an environment that lacks things: a sentence and an exit code.

Every command is run under each of them, in this process; the agent that some ask runs in a thread.
"""

import io
import os
import pwd
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import attrs
import pytest
import trio

from p2pool.api.server import ApiSettings, serve_api
from p2pool.cli import errors, main
from p2pool.drivers.keys.keystore import load_or_make_token
from p2pool.model import limits
from p2pool.model.ports.view import Event
from tests.api.fakes import TASK_ID, FakePort, sample_view
from tests.cli.command_tree import every_leaf, words_of
from tests.cli.surroundings.files import write_key, write_settings
from tests.wire.samples import NODE_ID

NODE = "0x" + NODE_ID.hex()
ARGUMENTS = {
    "digest": ["00" * 32],
    "account": ["0x" + "11" * 20],
    "node": [NODE],
    "node_id": [NODE],
    "name": [TASK_ID.hex()],
    "names": ["volume"],
    "task_name": [TASK_ID.hex()],
    "pool_id": ["5"],
    "value": ["3"],
    "file": ["key.json"],
    "nodes": [NODE],
    "provider": ["0x" + "11" * 20],
    "providers": ["0x" + "11" * 20],
    "amount_wei": ["1wei"],
    "keys": ["0x" + "22" * 32],
    "work_key": ["0x" + "22" * 32],
    "units": ["1"],
    "wanted": ["gpu:count=1"],
    "source": ["key.json"],
}
MORE = {
    "access grant": ["--scope", "read", "--for", "1h"],
    "access revoke": ["--yes"],
    "validator slash": ["--reason", "\u00fcber"],
    "validator run": ["--once", "--data-dir", "validator"],
    "validator check": ["--data-dir", "validator"],
    "validator judge": ["--policy", "none.toml", "--data-dir", "none"],
    "validation get": ["-o", "taken"],
    "task run": ["--image", "busybox", "--name", "\u00fcber"],
    "pool create": ["--name", "\u00fcber", "--dry-run"],
    "dev up": ["--dir", "taken"],
    "dev demo": ["--dir", "taken"],
    "dev down": ["--dir", "taken"],
    "agent run": ["--data-dir", "none", "--config", "none.toml"],
    "agent init": ["--data-dir", "taken", "--yes"],
    "agent check": ["--data-dir", "none", "--config", "none.toml"],
    "wallet unlock": ["--for", "1s"],
    "agent token create": ["--scope", "read"],
    "bootstrap run": ["--data-dir", "none", "--config", "none.toml"],
}
COMMANDS = [(name, command) for name, command in every_leaf()]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of an agent that is served from a thread; its pool has a name that ASCII
    cannot write."""
    directory, began = tmp_path_factory.mktemp("agent"), threading.Event()
    ended = trio.CancelScope()
    port = FakePort()
    port.happened = [Event(1, 2, 3, 4, "task", "x", "it runs")]
    port.newest = port.happened[-1].id
    view = sample_view()
    assert view.roster is not None
    port.seen = attrs.evolve(view, roster=attrs.evolve(view.roster, pool_name="\u00fcber \u2603"))
    token = load_or_make_token(directory)
    loop: list[Any] = []

    async def serve() -> None:
        loop.append(trio.lowlevel.current_trio_token())
        with ended:
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    lambda task_status: serve_api(
                        port,
                        ApiSettings("127.0.0.1:0"),
                        directory,
                        token,
                        task_status=task_status,
                    )
                )
                began.set()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert began.wait(10)
    yield directory
    trio.from_thread.run_sync(ended.cancel, trio_token=loop[0])
    thread.join(10)


@pytest.fixture
def user(agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody who can sign and asks that agent; where they are."""
    write_key(tmp_path / "key.json", b"\x07" * 32)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("years of work")
    monkeypatch.setenv("P2POOL_AGENT", str(agent))
    monkeypatch.setenv("P2POOL_KEY", str(tmp_path / "key.json"))
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")
    monkeypatch.setenv("P2POOL_CONFIG", str(write_settings(tmp_path / "pool.toml")))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(limits, "CLIENT_RETRY_PAUSE_MS", 10**9)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: list[str], stdout: IO[str] | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exit code of a command as the console script ends, and what it said on standard error."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", said)
        with pytest.raises(SystemExit) as ended:
            main.main(words)
    return ended.value.code, said.buffer.getvalue().decode()


def full() -> IO[str]:
    return open("/dev/full", "w", encoding="utf-8")


def broken() -> IO[str]:
    """A pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    return os.fdopen(writes, "w", encoding="utf-8")


def narrow() -> IO[str]:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


OUTPUTS: dict[str, Callable[[], IO[str] | None]] = {
    "a full disk": full,
    "a pipe that nobody reads": broken,
    "nothing": lambda: None,
    "an encoding without umlauts": narrow,
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("as_json", [False, True], ids=["plain", "json"])
def test_output_that_cannot_be_written(
    user: Path, monkeypatch: pytest.MonkeyPatch, output: str, as_json: bool
) -> None:
    """No command ends with a traceback; what is lost for want of room makes it fail."""
    for name, command in COMMANDS:
        words = words_of(name, command, ARGUMENTS) + MORE.get(name, [])
        words += ["--json"] if as_json else []
        with open(os.devnull, encoding="utf-8") as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            code, said = run(words, OUTPUTS[output](), monkeypatch)
        assert type(code) is int, (words, code, said)
        assert "Traceback" not in said, (words, said)
        if output == "a full disk":
            kept = io.BytesIO()
            run(words, io.TextIOWrapper(kept, encoding="utf-8", write_through=True), monkeypatch)
            lost = bool(kept.getvalue())
            assert not (lost and code == errors.OK), (words, said)


def test_a_full_disk_fails_what_writes(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says why; a reader that has seen enough is no failure of a kind that needs words."""
    for words in ("node ls", "task ls --json", "pool show", "agent status"):
        code, said = run(words.split(), full(), monkeypatch)
        assert (code, "cannot be written: No space left" in said) == (errors.FAILED, True), words
        code, said = run(words.split(), broken(), monkeypatch)
        assert (code, said) == (errors.FAILED, ""), words


def _nobody(_: int) -> NoReturn:
    raise KeyError("getpwuid(): uid not found")


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_a_user_without_a_home_and_a_name(
    user: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As in a container with a number for a user: with what is named, and with nothing named."""
    names = ("HOME", "USER", "LOGNAME", "USERNAME")
    folders = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    for variable in (*names, *folders):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    command = dict(COMMANDS)[name]
    for bare in (False, True):
        if bare:
            monkeypatch.delenv("P2POOL_AGENT", raising=False)
            monkeypatch.delenv("P2POOL_CONFIG", raising=False)
        words = words_of(name, command, ARGUMENTS)
        if not bare or name in ("dev up", "dev demo"):
            words += MORE.get(name, [])
        code, said = run(words, narrow(), monkeypatch)
        assert type(code) is int, (words, code, said)
        assert "Traceback" not in said, (words, said)


class Unbuffered(io.RawIOBase):
    """A disk without room, as the streams of PYTHONUNBUFFERED reach it."""

    def writable(self) -> bool:
        return True

    def write(self, _: Any) -> NoReturn:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "words", ["--help", "--version", "task run --help", "node ls", "pool show"]
)
def test_a_full_disk_is_named_without_a_buffer_too(
    user: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """It is standard output that has no room, and not some disk of the program's own."""
    stream = io.TextIOWrapper(Unbuffered(), encoding="utf-8", write_through=True)  # type: ignore[type-var]
    code, said = run(words.split(), stream, monkeypatch)
    assert (code, "Standard output cannot be written" in said) == (errors.FAILED, True), said


def test_wrong_usage_is_wrong_usage_though_nobody_can_be_told(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is all that is left of it."""
    for stream in (full(), broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as ended:
            main.main(["nonsense"])
        assert ended.value.code == errors.USAGE
