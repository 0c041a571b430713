"""What listens at an agent's address may be anything: every command says so in a sentence."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from p2pool.cli import errors, main
from p2pool.cli.shared.signer import plain
from p2pool.cli.unsigned_file import write_request
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from tests.cli.command_tree import every_leaf, words_of
from tests.cli.surroundings.files import write_settings
from tests.wire.samples import POOL as REF

NODE, TASK = "0x" + "11" * 20, "ab" * 16
ARGUMENTS = {
    "account": [NODE],
    "node": [NODE],
    "node_id": [NODE],
    "name": [TASK],
    "names": ["volume"],
    "task_name": [TASK],
    "digest": ["ab" * 32],
    "pool_id": ["5"],
    "value": ["3"],
    "command": [],
    "file": ["unsigned.json"],
}
OWN = {"pool set": {"name": ["committee"]}}
"""Of commands that mean something else by a name."""
MORE = {
    "access grant": ["--scope", "read", "--for", "1h"],
    "access revoke": ["--yes"],
    "task run": ["--image", "busybox"],
    "pool recover": ["--yes"],
    "pool start": ["5"],
    "agent token create": ["--scope", "read"],
    "wallet send": ["--signature", "0x" + "ab" * 65],
}


def page(status: str, body: str, kind: str = "text/html", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return (head + "Connection: close\r\n\r\n" + body).encode()


def told(value: Any, status: str = "200 OK") -> bytes:
    return page(status, json.dumps(value), "application/json")


KEYS = (
    *("nodes", "tasks", "task", "node", "allocations", "pool", "agent", "meta", "evidence"),
    *("leader", "committee", "logs", "silent", "copies", "volumes", "kind", "ready", "problems"),
)
POOL = {
    "contract": "0x" + "01" * 20,
    "chain_id": 31337,
    "pool_id": 5,
    "manager": NODE,
    "creator": 7,
    "tasks": 3,
    "settings": [],
    "domain_id": "x",
}
LISTED = {
    "node_id": NODE,
    "task_id": TASK,
    "name": TASK,
    "state": 5,
    "intent": [],
    "spec": 7,
    "membership": {},
    "free": 3,
    "hardware": "x",
    "allocations": 9,
    "voter": 1,
    "used_bytes": "x",
}
DEEP = {key: [LISTED] for key in KEYS} | {"pool": POOL, "task": LISTED, "node": LISTED, "agent": {}}
WRONG: dict[str, bytes] = {
    "a page": page("200 OK", "<html>hello</html>"),
    "a page that is missing": page("404 Not Found", "<html>nothing here</html>"),
    "nothing": b"",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no HTTP": b"\x15\x03\x03\x00\x02\x02\x50",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a status that is no number": b"HTTP/1.1 OK fine\r\n\r\n",
    "other JSON": told({"hello": "world"}),
    "a list": told([1, 2]),
    "no JSON": page("200 OK", "{", "application/json"),
    "deep JSON": page("200 OK", "[" * 100_000, "application/json"),
    "an error with 200": told({"error": "no such table", "code": ["x"]}),
    "an error of its own": told({"message": "gone"}, "410 Gone"),
    "an error whose code is a list": told({"code": [], "detail": [], "problems": {}}, "400 Bad"),
    "a redirection": page("302 Found", "", more="Location: http://127.0.0.1:1/\r\n"),
    "numbers": told(dict.fromkeys(KEYS, 5)),
    "texts": told(dict.fromkeys(KEYS, "x")),
    "nulls": told(dict.fromkeys(KEYS)),
    "lists of numbers": told({key: [1] for key in KEYS}),
    "lists of empty objects": told({key: [{}] for key in KEYS}),
    "empty objects": told({key: {} for key in KEYS}),
    "parts of other kinds": told(DEEP),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
}


@contextmanager
def listening(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with every connection; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def one(opened: socket.socket) -> None:
            with suppress(OSError), opened:
                act(opened)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    opened = listener.accept()[0]
                    threading.Thread(target=one, args=(opened,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def answering(body: bytes) -> Callable[[socket.socket], None]:
    """Read a request, and send this."""

    def act(opened: socket.socket) -> None:
        opened.recv(65536)
        opened.sendall(body)
        with suppress(OSError):
            opened.shutdown(socket.SHUT_WR)
            opened.settimeout(2)
            opened.recv(65536)

    return act


ASKING = [
    (name, command)
    for name, command in every_leaf()
    if {"client", "agent"} & {parameter.name for parameter in command.params}
]
"""The commands that talk to an agent."""


@pytest.fixture
def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody who can sign, has a configuration, and does not ask twice."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(Account.encrypt(b"\x07" * 32, "right", "pbkdf2", 1)))
    monkeypatch.setenv("P2POOL_KEY", str(key))
    monkeypatch.setenv("P2POOL_PASSPHRASE", "right")
    monkeypatch.setenv("P2POOL_TOKEN", "t" * 43)
    monkeypatch.setenv("P2POOL_CONFIG", str(write_settings(tmp_path / "pool.toml")))
    monkeypatch.setattr(limits, "CLIENT_RETRY_PAUSE_MS", 10**9)
    now_s = int(time.time())
    request = TaskRequest(Action.STOP, REF.pool_id, TASK, "", b"r" * 32, now_s, now_s + 600)
    write_request(tmp_path / "unsigned.json", REF, SignedRequest(request, b""), plain)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that has to fail says."""
    code = main.run(words)
    said = capsys.readouterr()
    wanted = (errors.FAILED, errors.REFUSED, errors.NOT_FOUND, errors.UNAVAILABLE)
    assert code in (*wanted, errors.MISCONFIGURED), (words, code, said)
    assert "error: " in said.err, (words, said)
    assert "Traceback" not in said.err, (words, said)
    return said.err


@pytest.mark.parametrize("wrong", WRONG)
def test_every_command_says_what_is_no_agent(
    hurried: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """In a sentence and an exit code, whatever comes back."""
    with listening(answering(WRONG[wrong])) as url:
        monkeypatch.setenv("P2POOL_AGENT", url)
        for name, command in ASKING:
            words = words_of(name, command, ARGUMENTS | OWN.get(name, {})) + MORE.get(name, [])
            if wrong.startswith("parts") and main.run(words) == errors.OK:
                capsys.readouterr()  # Some read only what they understand.
                continue
            said_of(words, capsys)


def test_who_speaks_tls_and_who_does_not(hurried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the two mistakes is named with its mend."""
    with listening(answering(b"\x15\x03\x03\x00\x02\x02\x50")) as url:
        assert "write https://" in said_of(["task", "ls", "--agent", url], capsys)
    with listening(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        secure = url.replace("http://", "https://")
        assert "write http://" in said_of(["task", "ls", "--agent", secure], capsys)


def test_an_answer_without_end_is_given_up(
    hurried: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte, in the headers or after them: each byte would begin another wait."""
    monkeypatch.setattr(limits, "CLIENT_ANSWER_MAX_MS", 300)

    def drip(first: bytes) -> Callable[[socket.socket], None]:
        def act(opened: socket.socket) -> None:
            opened.recv(65536)
            opened.sendall(first)
            while True:
                opened.sendall(b" ")
                threading.Event().wait(0.02)

        return act

    for first in (b"HTTP/1.1 200 OK\r\nX:", b"HTTP/1.1 200 OK\r\n\r\n{"):
        with listening(drip(first)) as url:
            assert "has no end after" in said_of(["node", "ls", "--agent", url], capsys)


@pytest.mark.parametrize("words", ["node ls", "task ls", "volume ls"])
@pytest.mark.parametrize("place", ["there", {"a": 1}, 7, "always another"])
def test_a_list_without_end_is_given_up(
    hurried: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    place: Any,
) -> None:
    """Whether it goes round, or on and on."""
    monkeypatch.setattr(limits, "CLIENT_PAGES_MAX", 20)
    pages = count()

    def act(opened: socket.socket) -> None:
        number = next(pages)
        assert number < 40
        again = str(number) if place == "always another" else place
        answering(told({**{key: [] for key in KEYS}, "next": again}))(opened)

    with listening(act) as url:
        assert "its list has no end" in said_of([*words.split(), "--agent", url], capsys)


def test_an_answer_of_any_length_is_not_kept(
    hurried: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound nothing is read."""
    monkeypatch.setattr(limits, "CLIENT_ANSWER_MAX_BYTES", 1 << 20)
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b" " * (3 << 20)
    with listening(answering(body)) as url:
        assert "longer than 1 MiB" in said_of(["node", "ls", "--agent", url], capsys)


@pytest.mark.parametrize(
    "url",
    [
        *("http://", "http://[::1", "http://a:b", "http://a:99999", "http://user@127.0.0.1:1"),
        *("http://127.0.0.1:1/v1/nodes", "http://127.0.0.1:1/?x=1", "http://a..b:1"),
        *("http://" + "a" * 300 + ":1", "http://127.0.0.1:0", "http://\u00e4.invalid:1"),
    ],
)
def test_an_address_that_is_none(
    hurried: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """A path or an account in it would be accepted and ignored."""
    said_of(["node", "ls", "--agent", url], capsys)


@pytest.mark.parametrize("token", ["a\r\nX: y", "t\u00f6ken"])
def test_a_token_that_is_none(
    hurried: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """A line end in it would begin another header."""
    monkeypatch.setenv("P2POOL_TOKEN", token)
    said = said_of(["node", "ls", "--agent", "http://127.0.0.1:1"], capsys)
    assert "The token is none" in said


def test_half_an_archive_is_no_archive(hurried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export that broke off is not taken for a whole one, and leaves no file."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Length: 100\r\n\r\n"
    words = ["volume", "export", "data", "-o", "data.tar", "--agent"]
    with listening(answering(head + b"x" * 50)) as url:
        assert "broke off before its end" in said_of([*words, url], capsys)
    assert not list(hurried.glob("data.tar*"))
