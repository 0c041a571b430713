"""An unlocked key signs what commands make, for its owner, for a while; and nothing else."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.drivers.keys import key_client
from p2pool.drivers.keys.key_client import UnlockedKey
from p2pool.drivers.keys.key_server import Server, now_s
from p2pool.drivers.keys.key_start import hold
from p2pool.model import limits
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import (
    Malformed,
    Misconfigured,
    NotAllowed,
    P2poolError,
    Stale,
    Unavailable,
)
from p2pool.model.ids import Address
from p2pool.wire import typed_data
from p2pool.wire.account import Account
from tests.wire.samples import POOL

ACCOUNT = Account(b"k" * 32)
ADDRESS = Address(bytes.fromhex(ACCOUNT.address[2:]))


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, with a name too long for a socket's address."""
    path = tmp_path_factory.mktemp("h" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        patch.setenv("HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def held(home: Path) -> Iterator[UnlockedKey]:
    """A key that a process holds."""
    key = UnlockedKey(ADDRESS)
    hold(ACCOUNT, key, 600)
    yield key
    key.lock()


def _request(**change: Any) -> TaskRequest:
    now_s = int(time.time())
    made = TaskRequest(
        Action.SUBMIT, POOL.pool_id, "", '{"image":"é"}', b"r" * 32, now_s, now_s + 600
    )
    return attrs.evolve(made, **change)


def test_it_signs_as_the_key_file_would(held: UnlockedKey, home: Path) -> None:
    """Requests and grants; the directory holds a socket, and only its owner may use either."""
    request = _request()
    wanted = typed_data.sign_request(POOL, ACCOUNT, request).signature
    assert held.sign_request(POOL, request) == wanted
    grant = LogGrant(POOL.pool_id, "ab" * 16, request.not_before_s, request.not_after_s)
    assert held.sign_grant(POOL, grant) == typed_data.sign_grant(POOL, ACCOUNT, grant).signature
    only = held.path
    assert [one.suffix for one in (home / ".p2pool").iterdir()] == [".sock"]
    modes = [stat.S_IMODE(one.lstat().st_mode) for one in (only, only.parent)]
    assert (only, modes, stat.S_ISSOCK(only.lstat().st_mode)) == (held.path, [0o600, 0o700], True)


def test_a_lock_and_the_end_of_its_time_forget_the_key() -> None:
    """At once; and a new time replaces the old one."""
    account = Account(b"l" * 32)
    held = UnlockedKey(Address(bytes.fromhex(account.address[2:])))
    hold(account, held, 60)
    left_s = held.left_s()
    assert left_s is not None
    assert 50 < left_s <= 60
    assert held.sign_request(POOL, _request())
    hold(account, held, 1)
    end = time.monotonic() + 20
    while held.left_s() is not None or held.path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    hold(account, held, 60)
    held.lock()
    assert not held.path.exists()
    assert not held.lock()
    with pytest.raises(Stale, match="was locked"):
        held.sign_request(POOL, _request())


@pytest.mark.parametrize(
    ("from_now_s", "kind"),
    [
        ({"not_before_s": 86400, "not_after_s": 86401}, Stale),
        ({"not_before_s": -86400, "not_after_s": -86399}, Stale),
        ({"not_after_s": 2 * limits.REQUEST_LIFETIME_MAX_S}, Malformed),
    ],
)
def test_it_signs_nothing_that_outlives_its_time(
    held: UnlockedKey, from_now_s: dict[str, int], kind: type[P2poolError]
) -> None:
    """A request that begins later could be kept until the key is locked."""
    now_s = int(time.time())  # not of the collection: a run of all tests takes longer than this
    change = {field: now_s + seconds for field, seconds in from_now_s.items()}
    with pytest.raises(kind):
        held.sign_request(POOL, _request(**change))


FIELDS = {"target": "", "spec_json": "", "not_before_s": 0, "not_after_s": 1, "action": "stop"}
REFUSED: dict[str, Any] = {
    "a digest": {"sign": "digest", "pool": {}, "fields": {"digest": "00" * 32}},
    "bare": {"digest": "00" * 32},
    "a delegation": {"sign": "delegation", "pool": key_client._pool(POOL), "fields": {}},
    "no request id": {"sign": "request", "pool": key_client._pool(POOL), "fields": FIELDS},
    "more": {"sign": "request", "pool": key_client._pool(POOL), "fields": FIELDS | {"x": 1}},
    "no pool": {"sign": "request", "pool": {"chain_id": 1}, "fields": FIELDS},
    "two things": {"lock": True, "status": True},
    "a list": [],
    "text": "sign",
    "a number": 7,
    "null": None,
}


@pytest.mark.parametrize("question", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_typed_request_is_not_signed(held: UnlockedKey, question: Any) -> None:
    """Bytes that a peer chose above all; and the key stays there for the next."""
    with pytest.raises(P2poolError):
        held._ask(question)
    assert held.left_s() is not None


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"{", b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"x" * 999]
)
def test_bytes_that_are_no_question_do_no_harm(held: UnlockedKey, raw: bytes) -> None:
    """The connection ends, and the next one is answered."""
    with socket.socket(socket.AF_UNIX) as stream, key_client._reachable(held.path) as name:
        stream.connect(name)
        stream.sendall(raw)
        stream.shutdown(socket.SHUT_WR)
        stream.settimeout(20)
        told = stream.recv(4096)
    assert not told or "error" in json.loads(told)
    assert held.left_s() is not None


def test_another_user_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the process, nor does a command believe another user's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert key_client.peer_is_owner(ours)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not key_client.peer_is_owner(ours)
        monkeypatch.undo()
    answered: list[object] = []
    key_client.make_directory()
    path = key_client.socket_path(Address(b"a" * 20))
    server = Server(ACCOUNT, path, now_s() + 60)
    monkeypatch.setattr(key_client, "peer_is_owner", lambda connection: False)
    monkeypatch.setattr(server, "answer", answered.append)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with socket.socket(socket.AF_UNIX) as stream, key_client._reachable(path) as name:
        stream.connect(name)
        stream.settimeout(20)
        with suppress(ConnectionError):  # It may close before it has read.
            stream.sendall(b'{"status": true}\n')
            assert stream.recv(100) == b""
    assert answered == []
    with pytest.raises(NotAllowed):
        UnlockedKey(Address(b"a" * 20)).left_s()
    server._locked = True
    with socket.socket(socket.AF_UNIX) as stream, key_client._reachable(path) as name:
        stream.connect(name)
    thread.join(20)
    assert not path.exists()


def test_a_process_leaves_the_socket_of_the_next() -> None:
    """Who ends late, after the key was unlocked anew, takes away only its own."""
    key_client.make_directory()
    path = key_client.socket_path(Address(b"b" * 20))
    late = Server(ACCOUNT, path, now_s())
    path.unlink()
    following = Server(ACCOUNT, path, now_s())
    late.run()
    assert path.exists()
    following.run()
    assert not path.exists()


def test_a_directory_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could put a socket there would be asked in the key's place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".p2pool").mkdir(mode=0o755)
    with pytest.raises(Misconfigured, match="Others may enter"):
        key_client.make_directory()
    (tmp_path / ".p2pool").rmdir()
    (tmp_path / ".p2pool").symlink_to(tmp_path)
    with pytest.raises(Misconfigured):
        key_client.make_directory()


def test_asking_for_a_key_that_nobody_unlocked_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs with a passphrase needs neither a home nor a place to write."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_client.unlocked(ADDRESS) is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("HOME", "nowhere")
    assert key_client.unlocked(ADDRESS) is None
    with pytest.raises(Misconfigured, match="no home directory"):
        hold(ACCOUNT, held=UnlockedKey(ADDRESS), span_s=1)


@pytest.mark.parametrize("answer", [b"\n", b"[]\n", b"{}\n", b"half", b"[" * 9999 + b"\n", b"5\n"])
def test_what_holds_no_key_is_taken_for_none(home: Path, answer: bytes) -> None:
    """And is not said to be locked: something is there."""
    key_client.make_directory()
    other = UnlockedKey(Address(b"o" * 20))
    with socket.socket(socket.AF_UNIX) as listener:
        key_client.bind(listener, other.path)
        listener.listen(8)

        def serve() -> None:
            for _ in range(2):
                with listener.accept()[0] as asked:
                    asked.recv(4096)
                    asked.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert key_client.unlocked(Address(b"o" * 20)) is None
        with pytest.raises(Unavailable, match="does not answer"):
            other.lock()
        thread.join(10)
    other.path.unlink()
