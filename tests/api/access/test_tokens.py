"""Tokens are made, shown once, used, listed and revoked, and what is kept of them opens nothing."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from p2pool.api.http import tokens as table
from p2pool.api.http.places import Places
from p2pool.api.server import ApiSettings
from p2pool.client.agent_client import AgentClient
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.model import limits
from p2pool.model.access.tokens import Tokens, token_digest
from p2pool.model.errors import (
    Conflict,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    StoreFailed,
    TooMany,
)
from p2pool.model.messages.task_streams import LogChunk
from p2pool.model.ports.agent import LogOptions
from tests.api.access.requests import ask, grant
from tests.api.conftest import Served, serving
from tests.api.fakes import ALLOCATION

ANY = ApiSettings("127.0.0.1:0")
thread = trio.to_thread.run_sync


async def made(
    served: Served, name: str, scope: str = "read", lifetime_s: int | None = None
) -> str:
    """The text of a new token."""
    answer = await thread(served.client.create_token, name, scope, lifetime_s)
    return str(answer["token"])


async def test_a_token_opens_at_once_and_is_shown_once(served: Served) -> None:
    """The answer is not to be stored on the way; the list and the file know its digest at most."""
    wanted = json.dumps({"name": "laptop", "scope": "read", "lifetime_s": 3600})
    answer = await ask(served, served.token, "post", "/v1/tokens", wanted)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    text = answer.told["token"]
    assert text.startswith("p2pool_")
    assert len(text) == len("p2pool_") + 43
    assert len(await thread(AgentClient(served.url, text).nodes)) == 2
    own, one = await thread(served.client.tokens)
    assert own | {"used_at_ms": 0} == {
        "name": "api.token", "scope": "operate", "made_at_ms": 0, "expires_at_ms": 0,
        "used_at_ms": 0,
    }  # fmt: skip
    assert (one["name"], one["scope"]) == ("laptop", "read")
    assert one["expires_at_ms"] - one["made_at_ms"] == 3600_000
    assert one["used_at_ms"] >= one["made_at_ms"] > 0
    path = served.directory / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text not in path.read_text()
    assert token_digest(text).hex() in path.read_text()


async def test_a_token_outlives_the_agent_and_its_end_does_too(tmp_path: Path) -> None:
    """The next run knows the digests; what was revoked stays so. When one was used is written at
    the end, and with no request."""
    async with serving(tmp_path, ANY) as served:
        kept, gone = await made(served, "kept"), await made(served, "gone")
        await thread(served.client.revoke_token, "gone")
        await thread(AgentClient(served.url, kept).nodes)
        assert [one.used_at_ms for one in TokenFile(tmp_path).load()] == [0]
    (before,) = TokenFile(tmp_path).load()
    assert before.used_at_ms > 0
    async with serving(tmp_path, ANY) as served:
        assert len(await thread(AgentClient(served.url, kept).nodes)) == 2
        with pytest.raises(NotAllowed, match="missing or wrong"):
            await thread(AgentClient(served.url, gone).nodes)
        with pytest.raises(NotFound, match="no token 'gone'"):
            await thread(served.client.revoke_token, "gone")


async def test_when_tokens_were_used_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the agent runs, too; and only where that changed."""
    monkeypatch.setattr(limits, "API_TOKENS_USED_SAVE_MS", 20)
    store = _Store(tmp_path)
    async with serving(tmp_path, ANY, store=store) as served:
        text = await made(served, "laptop")
        await thread(AgentClient(served.url, text).nodes)
        with trio.fail_after(10):
            while not store.load()[0].used_at_ms:
                await store.saved.wait()
        store.saved = trio.Event()
        with trio.move_on_after(0.2):
            await store.saved.wait()
            pytest.fail("nothing had changed")


async def test_a_token_that_has_expired_opens_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder is told so; its name is free again."""
    text = await made(served, "ci", lifetime_s=60)
    real = table.now_ms
    monkeypatch.setattr(table, "now_ms", lambda: real() + 59_000)
    assert (await ask(served, text, "get", "/v1/pool")).status == 200
    with pytest.raises(Conflict, match="'ci' already"):
        await made(served, "ci")
    monkeypatch.setattr(table, "now_ms", lambda: real() + 61_000)
    found = await ask(served, text, "get", "/v1/pool")
    assert (found.status, found.told["detail"]) == (401, "The token 'ci' has expired.")
    assert 'error="invalid_token"' in found.headers["www-authenticate"]
    assert (await ask(served, text, "get", "/v1/health")).status == 200
    again = await made(served, "ci")
    assert (await ask(served, again, "get", "/v1/pool")).status == 200
    assert (await ask(served, text, "get", "/v1/pool")).status == 401


async def test_streams_end_with_their_token(served: Served) -> None:
    """Those of events and of logs, with a last piece that says why; those of others go on."""
    text, other = await made(served, "watcher"), await made(served, "other")
    served.port.logs.chunks = [LogChunk(1, 0, b"line")]
    served.port.logs.endless = False
    events = AgentClient(served.url, text, timeout_s=20).events()
    theirs = AgentClient(served.url, other, timeout_s=20).events()
    said: list[str] = []
    ended = trio.Event()

    async def read(stream: Any) -> None:
        with pytest.raises(NotAllowed) as refused:
            await thread(next, stream)
        said.append(refused.value.message)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, events)
        await served.port.listening.wait()
        nursery.start_soon(read, theirs)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await thread(served.client.revoke_token, "watcher")
        with trio.fail_after(10):
            await ended.wait()
        assert said == ["The token 'watcher' was revoked."]
        await thread(served.client.revoke_token, "other")
    assert len(said) == 2


async def test_an_endless_log_ends_with_its_token(served: Served) -> None:
    """However fast its lines come."""
    served.port.logs.endless = True
    text = await made(served, "watcher")
    lines = AgentClient(served.url, text, timeout_s=20).logs(ALLOCATION_ID, grant(), FOLLOW)
    assert await thread(next, lines)
    await thread(served.client.revoke_token, "watcher")

    def rest() -> None:
        for _ in lines:
            pass

    with pytest.raises(NotAllowed, match="was revoked"), trio.fail_after(20):
        await thread(rest)
    await served.port.logs.closed.wait()


async def test_a_stream_ends_when_its_token_expires(served: Served) -> None:
    """By itself."""
    text = await made(served, "short", lifetime_s=1)
    events = AgentClient(served.url, text, timeout_s=20).events()
    with pytest.raises(NotAllowed, match="'short' has expired"), trio.fail_after(20):
        await thread(next, events)


async def test_a_disk_that_refuses_makes_no_token(tmp_path: Path) -> None:
    """What is not written opens nothing."""
    store = _Store(tmp_path)
    async with serving(tmp_path, ANY, store=store) as served:
        store.fails = True
        with pytest.raises(StoreFailed, match="cannot be written"):
            await made(served, "laptop")
        assert len(await thread(served.client.tokens)) == 1
        assert (await ask(served, store.made[-1], "get", "/v1/pool")).status == 401


async def test_a_disk_that_refuses_keeps_no_door_open(tmp_path: Path) -> None:
    """What was revoked opens nothing whatever the disk says; it says what that means, and asking
    again ends it for good."""
    store = _Store(tmp_path)
    async with serving(tmp_path, ANY, store=store) as served:
        text = await made(served, "laptop")
        store.fails = True
        with pytest.raises(StoreFailed, match="opens nothing now, and would again"):
            await thread(served.client.revoke_token, "laptop")
        found = await ask(served, text, "get", "/v1/pool")
        assert (found.status, found.told["detail"]) == (401, "The token 'laptop' was revoked.")
        store.fails = False
        await thread(served.client.revoke_token, "laptop")
        assert store.load() == ()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *((name, Malformed) for name in ("", "A", "a b", "-a", "a-", "a" * 64, "\u00e4", "a.b")),
        ("api.token", Malformed),
        ("taken", Conflict),
    ],
)
async def test_a_name_that_a_token_cannot_have(
    served: Served, name: str, error: type[Exception]
) -> None:
    """With what it may be; the agent's own name is nobody's."""
    await made(served, "taken")
    with pytest.raises(error):
        await made(served, name)


async def test_the_agents_own_token_cannot_be_revoked(served: Served) -> None:
    """Its machine's commands would be locked out; it says how to have another one."""
    with pytest.raises(Conflict, match="remove the file"):
        await thread(served.client.revoke_token, "api.token")


async def test_there_is_a_bound(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it says what to do."""
    monkeypatch.setattr(limits, "API_TOKENS_MAX", 2)
    await made(served, "a")
    await made(served, "b")
    with pytest.raises(TooMany, match="Revoke some"):
        await made(served, "c")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "name is missing"),
        ('{"name": "a", "scope": "write"}', "scope is not one of metrics, read, operate"),
        ('{"name": "a", "scope": "read", "lifetime_s": 0}', "lifetime_s is 0"),
        ('{"name": "a", "scope": "read", "expires": 5}', "unknown key 'expires'"),
        ("[]", "is not an object"),
    ],
)
async def test_a_request_for_one_says_all_that_is_wrong(
    served: Served, body: str, said: str
) -> None:
    """Nothing is accepted and ignored."""
    found = await ask(served, served.token, "post", "/v1/tokens", body)
    assert found.status == 400
    assert said in found.told["detail"]


def test_a_place_is_held_by_what_was_shown_last() -> None:
    """Who shows a token that is over is a stranger again; who came by the unix socket is not."""

    async def judge() -> None:
        places = Places()
        place, local = places.take(), places.take(known=True)
        assert place is not None
        assert local is not None
        place.show()
        assert place.known
        for one in (place, local):
            one.doubt()
        assert (place.known, local.known) == (False, True)

    trio.run(judge)


def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    """Nobody could say which tokens are void."""
    (tmp_path / "tokens.json").touch(mode=0o600)
    (tmp_path / "tokens.json").write_text("{}")

    async def serve() -> None:
        async with serving(tmp_path, ANY):
            pass

    with pytest.RaisesGroup(
        pytest.RaisesExc(Misconfigured, match=r"tokens\.json cannot be read"),
        flatten_subgroups=True,
    ):
        trio.run(serve)


ALLOCATION_ID = str(ALLOCATION)
FOLLOW = LogOptions(True, -1, 0)


class _Store(TokenFile):
    """The file, on a disk that refuses when it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.fails, self.made = False, list[str]()
        self.saved = trio.Event()

    def save(self, tokens: Tokens) -> None:
        if self.fails:
            raise StoreFailed("The tokens cannot be written: No space left on device.")
        told = self.saved
        super().save(tokens)
        trio.from_thread.run_sync(told.set)

    def make(self) -> str:
        self.made.append(super().make())
        return self.made[-1]
