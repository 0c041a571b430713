"""Both clients against a served API: what is asked arrives, and what is answered is typed."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.api.server import ApiSettings
from p2pool.client import Agent, AsyncClient, Client, KeySigner
from p2pool.client.library.signers import TypedData
from p2pool.model.access.requests import Action
from p2pool.model.errors import (
    BadSignature,
    BadSpec,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    Unavailable,
)
from p2pool.model.messages.task_streams import LogChunk, LogStream
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import Event
from tests.api.conftest import Served, serving
from tests.api.fakes import ALLOCATION, TASK_ID
from tests.api.http.conftest import certificate
from tests.wire.samples import ACCOUNT, NODE_ID, POOL

__all__ = ["certificate"]

SPEC = {"name": "hello", "image": "busybox:1", "command": ["true"]}
SIGNER = KeySigner(bytes(ACCOUNT.key))
thread = trio.to_thread.run_sync


class Either:
    """A client of either kind, asked in the same way: the blocking one in a thread."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def __call__(self, name: str, *given: Any, **named: Any) -> Any:
        method = getattr(self.client, name)
        if isinstance(self.client, AsyncClient):
            return await method(*given, **named)
        return await thread(lambda: method(*given, **named))

    async def some(self, count: int, name: str, *given: Any, **named: Any) -> list[Any]:
        """The first values of a stream, at most so many."""
        stream = getattr(self.client, name)(*given, **named)
        found: list[Any] = []
        if isinstance(self.client, AsyncClient):
            async with stream:
                async for one in stream:
                    found.append(one)
                    if len(found) == count:
                        break
            return found

        def read() -> list[Any]:
            with stream:
                for one in stream:
                    found.append(one)
                    if len(found) == count:
                        break
            return found

        return await thread(read)


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "trio"])
def kind(request: pytest.FixtureRequest) -> type[Client] | type[AsyncClient]:
    found: type[Client] | type[AsyncClient] = request.param
    return found


@pytest.fixture
def client(kind: type[Client], served: Served) -> Either:
    return Either(kind(served.directory, signer=SIGNER, patience_s=2))


async def test_reads(client: Either, served: Served) -> None:
    """Typed records of what the agent knows."""
    pool = await client("pool")
    assert (pool.chain_id, pool.pool_id) == (POOL.chain_id, POOL.pool_id)
    task = await client("task", "train")
    assert (task.task_id, task.allocations[0].id) == (TASK_ID.hex(), str(ALLOCATION))
    assert [one.name for one in await client("tasks", states=())] == ["train"]
    node = await client("node", "0x" + NODE_ID.hex())
    assert node.hardware.gpus[0].model == "h100"
    assert len(await client("nodes")) == 2
    (copy,) = await client("metrics", "train")
    assert copy.metrics[0].value > 0 or copy.problem
    assert await client("access") == []
    with pytest.raises(NotFound) as failed:
        await client("task", "nothing")
    assert failed.value.hint


async def test_a_token_of_scope_read_is_enough(kind: type[Client], served: Served) -> None:
    """As docs/platforms.md says: a platform gets no other."""
    made = await thread(served.client.create_token, "acme", "read")
    agent = Agent(url=served.url, token=made["token"])
    client = Either(kind(agent, signer=SIGNER, patience_s=2))
    for read in ("pool", "tasks", "nodes", "access"):
        await client(read)
    assert (await client("task", "train")).name == "train"
    assert len(await client("metrics", "train")) == 1
    assert (await client("submit", SPEC)).action == "submit"


async def test_a_token_that_no_agent_would_get_is_not_passed_over(kind: type[Client]) -> None:
    """A directory has its own; what is given beside it would be ignored in silence."""
    named: tuple[dict[str, Any], ...] = ({"token": "x" * 40}, {"token_file": "t"}, {"ca_file": "c"})
    for given in named:
        for agents in ("/data/agent", None, Agent(url="https://a.example", token="y" * 40)):
            with pytest.raises(Misconfigured, match="no agent is named by"):
                kind(agents, **given)
    kind(["/data/agent", "https://a.example"], token="x" * 40, ca_file="c")


async def test_writes(client: Either, served: Served) -> None:
    """Signed by the key, for the agent's pool; a specification that is bad is refused here."""
    said = await client("submit", SPEC)
    assert (said.action, said.duplicate) == ("submit", False)
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert asked.signer.hex() == ACCOUNT.address[2:].lower()
    prepared = await client("prepare", SPEC)
    assert (await client("send", prepared)).action == "submit"
    assert (await client("send", prepared.body)).action == "submit"
    assert (await client("stop", "train")).task_id == TASK_ID.hex()
    assert (await client("act", "drain", "0x" + NODE_ID.hex())).node_id == "0x" + NODE_ID.hex()
    sent = [one for one in served.port.asked if isinstance(one, SubmitCommand)]
    actions = [one.signed.request.action for one in sent]
    assert actions == [*[Action.SUBMIT] * 3, Action.STOP, Action.DRAIN]
    assert sent[1].signed == sent[2].signed
    with pytest.raises(BadSpec) as failed:
        await client("submit", {"image": "busybox", "replicas": -1})
    assert failed.value.problems
    with pytest.raises(Malformed):
        await client("send", {"request": {}})


async def test_an_injected_signer(kind: type[Client], served: Served) -> None:
    """A function that has the key somewhere else; what it raises, the caller gets."""
    shown: list[TypedData] = []

    def wallet(data: TypedData) -> str:
        shown.append(data)
        return "0x" + SIGNER(data).hex()

    await Either(kind(served.directory, signer=wallet))("submit", SPEC)
    assert shown[0]["primaryType"] == "TaskRequest"
    assert '"name":"hello"' in shown[0]["message"]["specJson"]

    def locked(data: TypedData) -> str:
        raise KeyError("the wallet is locked")

    with pytest.raises(KeyError, match="locked"):
        await Either(kind(served.directory, signer=locked))("submit", SPEC)
    with pytest.raises(BadSignature):
        await Either(kind(served.directory, signer=lambda data: None))("submit", SPEC)  # type: ignore[arg-type]
    assert len(served.port.asked) == 1


async def test_an_async_signer_is_awaited_on_trio_alone(served: Served) -> None:
    """The blocking client says what to use instead."""

    async def kms(data: TypedData) -> bytes:
        await trio.lowlevel.checkpoint()
        return SIGNER(data)

    assert (await AsyncClient(served.directory, signer=kms).submit(SPEC)).action == "submit"
    with pytest.raises(Misconfigured, match="async"):
        await Either(Client(served.directory, signer=kms))("submit", SPEC)


async def test_events(client: Either, served: Served) -> None:
    """After an id, with what they say by names."""
    served.port.happened = [
        Event(1, n, 0, 7, "task", "t", f"event {n}", (("state", "running"),)) for n in (3, 4)
    ]
    found = await client.some(2, "events", "1.2.0")
    assert [one.id for one in found] == ["1.3.0", "1.4.0"]
    assert found[0].details == {"state": "running"}


async def test_logs(client: Either, served: Served) -> None:
    """Lines of a copy, under a grant that the client signs."""
    served.port.logs.chunks = [LogChunk(LogStream.STDOUT, 5, b"one\ntwo")]
    lines = await client.some(9, "logs", "train")
    assert [(one.text, one.whole, one.attempt) for one in lines] == [
        *(("one", True, 1), ("two", False, 1)),
    ]
    (opened,) = served.port.logs.opened
    assert opened[2].grant.task == TASK_ID.hex()
    with pytest.raises(Malformed):
        await client.some(1, "logs", "train", tail_lines=-5)


@contextlib.asynccontextmanager
async def two(tmp_path: Path) -> AsyncIterator[tuple[Served, Served]]:
    """Two agents of one pool."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    settings = ApiSettings("127.0.0.1:0")
    async with serving(first, settings) as one, serving(second, settings) as other:
        yield one, other


async def test_an_agent_that_fails_is_left_for_another(kind: type[Client], tmp_path: Path) -> None:
    """By URL with a token of its own, or by directory; one that nobody started is passed over."""
    async with two(tmp_path) as (one, other):
        one.port.failures = [Unavailable("The agent is busy.")] * 9
        named = Agent(url=one.url, token=one.token)
        agents: list[Path | Agent] = [tmp_path / "nobody", named, other.directory]
        client = Either(kind(agents, signer=SIGNER, patience_s=2))
        assert (await client("submit", SPEC)).action == "submit"
        assert len(other.port.asked) == 1
        assert client.client.agent == str(other.directory)


async def test_a_wrong_token_is_told(kind: type[Client], served: Served) -> None:
    """As the caller's fault, without the token."""
    client = Either(kind(served.url, token="w" * 43, patience_s=2))
    with pytest.raises(Misconfigured) as failed:
        await client("pool")
    assert "w" * 43 not in str(failed.value)
    assert served.url in str(failed.value)


async def test_a_silent_agent_costs_its_timeout(kind: type[Client], served: Served) -> None:
    """One that takes connections and says nothing, as a machine that hangs."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    silent = Agent(url=f"http://127.0.0.1:{port}", token="x" * 40)
    agents: list[Path | Agent] = [silent, served.directory]
    client = Either(kind(agents, timeout_s=3, patience_s=60))
    assert (await client("task", "train")).name == "train"
    for listener in listeners:
        await listener.aclose()


async def test_cancelling_is_prompt(served: Served) -> None:
    """Whatever it waits for: an answer, an event, an agent that is away, a wallet."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    silent = Agent(url=f"http://127.0.0.1:{port}", token="x" * 40)

    async def sleeps(data: TypedData) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def first_event() -> None:
        async with AsyncClient(served.directory).events() as events:
            await events.__anext__()

    waits: tuple[Callable[[], Awaitable[Any]], ...] = (
        AsyncClient(silent).pool,
        AsyncClient("http://127.0.0.1:9", token="x" * 40, patience_s=60).pool,
        lambda: AsyncClient(served.directory, signer=sleeps).submit(SPEC),
        first_event,
    )
    for wait in waits:
        with trio.fail_after(5):
            with trio.move_on_after(0.2) as scope:
                await wait()
        assert scope.cancelled_caught
    for listener in listeners:
        await listener.aclose()


async def test_a_signature_of_another_account_is_the_pools_to_refuse(
    kind: type[Client], served: Served
) -> None:
    """What an agent refuses is raised as what it is."""
    served.port.failures = [NotAllowed("This account may not submit.")]
    with pytest.raises(NotAllowed, match="may not submit"):
        await Either(kind(served.directory, signer=SIGNER))("submit", SPEC)


async def test_a_pool_that_was_named_is_the_only_one(kind: type[Client], served: Served) -> None:
    """No agent can move a signature to another pool."""
    other = attrs.evolve(POOL, pool_id=POOL.pool_id + 1)
    with pytest.raises(Misconfigured, match="of another pool"):
        await Either(kind(served.directory, signer=SIGNER, pool=other))("submit", SPEC)
    assert served.port.asked == []
    with pytest.raises(Misconfigured, match="No agent"):
        kind([])


async def test_the_certificate_of_a_directory_is_the_one(
    kind: type[Client], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """By its fingerprint, whatever its name; an authority of nobody is not trusted by a URL."""
    settings = ApiSettings("127.0.0.1:0", certificate=certificate[0], private_key=certificate[1])
    async with serving(tmp_path, settings) as served:
        (tmp_path / "api.sock").unlink()
        assert (await Either(kind(tmp_path))("task", "train")).name == "train"
        client = Either(kind(Agent(url=served.url, token=served.token), patience_s=1))
        with pytest.raises(Misconfigured, match="cannot be trusted"):
            await client("pool")
        plain = Agent(url=served.url.replace("https", "http"), token=served.token)
        with pytest.raises((Misconfigured, Unavailable)):
            await Either(kind(plain, patience_s=1))("pool")
