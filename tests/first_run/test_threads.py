"""Whatever this program calls in a thread, and what a thread calls of it, leaves trio alone.

A table says of each site in the source by which test it is run; a site that is not in the table
fails, and so does one whose test did not reach it. Real threads, real objects.
"""

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from eth_abi.abi import encode

from p2pool.agent.agent import run_agent
from p2pool.agent.bootstrap import run_bootstrap
from p2pool.agent.options import AgentOptions, BootstrapOptions
from p2pool.agent.work.journal import PieceJournal
from p2pool.api.http.tokens import TokenTable
from p2pool.cli.shared.plans.node_keys import consent_by
from p2pool.cli.task.logs import _read_all, _Writer
from p2pool.dev.chain.contracts import new_account
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.dev.engine.runtime import WANTED, choose, remove_image
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import GET_NODE, PoolContracts
from p2pool.drivers.chain.join_driver import find_in_file
from p2pool.drivers.chain.join_steps import Joining
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.writer import DryWriter
from p2pool.drivers.checks.run import Subject, run_checks
from p2pool.drivers.checks.webhooks import webhook_checks
from p2pool.drivers.config.schema import ChallengeConfig, NotifyConfig, RuntimeConfig
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.drivers.store.store import Store
from p2pool.drivers.webhooks.delivery import send_test
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.model import limits
from p2pool.model.access.tokens import TokenScope
from p2pool.model.errors import CannotStart, NotFound, P2poolError
from p2pool.model.ids import Address, TaskId
from p2pool.model.machine.hardware import Gpu
from p2pool.model.ports.agent import LogOptions
from p2pool.model.ports.runtime import ContainerPlan, ContainerRuntime, PullProgress, RunningCopy
from p2pool.model.ports.store import Put
from p2pool.model.ports.volumes import Retention
from p2pool.model.tasks.secrets import RegistryAuth
from p2pool.model.tasks.spec import Mount, MountKind, PullPolicy, Resources
from p2pool.wire.evm.key_signer import KeySigner
from tests.agent.streams import doubles
from tests.agent.streams.evidence_agents import DOCUMENT, VERDICT, Agents, offer
from tests.agent.work.test_journal import piece
from tests.chain.hostile import AT, Chain
from tests.chain.transactions.kept import KEPT
from tests.containers.docker.secrets.copies import FILE, secret_plan
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, lines, plan, run_to_end
from tests.containers.harness.prover_image import make_prover_image
from tests.containers.harness.registry import PASSWORD, USER, running_registry
from tests.drivers.webhooks.stand_in import receiving, webhook
from tests.first_run.harness.call_coverage import TABLE, missing
from tests.first_run.harness.call_sites import find_sites
from tests.first_run.harness.configuration import config_of
from tests.first_run.harness.trio_watch import Watch, watching
from tests.validator.harness.nodes import MODEL

WITH_VOLUME = "p2pool-test/with-volume:1"


@contextmanager
def exercised(name: str) -> Iterator[None]:
    """Fails where trio was touched from a thread, or a site of this exercise was not reached."""
    with watching() as watch:
        yield
    assert not watch.misuses, "\n".join(watch.misuses)
    assert missing(name, watch) == []


def test_every_site_has_an_exercise() -> None:
    """A new call in a thread has to be put into the table, and to be run."""
    listed = [name for names in TABLE.values() for name in names]
    assert len(listed) == len(set(listed))
    assert sorted({site.name for site in find_sites()}) == sorted(listed)


async def test_the_watch_sees_what_fails_and_what_only_might() -> None:
    """What would work here by luck is seen too; what goes back to trio's thread is not."""

    def touch() -> None:
        event.set()
        trio.CancelScope().cancel()
        send.send_nowait(None)
        with pytest.raises(RuntimeError, match="async context"):
            trio.current_time()

    event = trio.Event()
    send, receive = trio.open_memory_channel[None](1)
    with watching() as watch:
        await trio.to_thread.run_sync(touch)
    receive.close()
    names = [text.split()[0] for text in watch.misuses]
    assert names == [
        "Event.set",
        "CancelScope.cancel",
        "MemorySendChannel.send_nowait",
        "trio.current_time",
    ]
    with watching() as watch:
        await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(event.set))
        event.set()
    assert watch.misuses == []


async def test_a_bootstrap_node(tmp_path: Path) -> None:
    """From its start to its end."""
    stop = trio.Event()
    with exercised("bootstrap"):
        options = BootstrapOptions(
            tmp_path / "data", config_of().pool_ref, ("/ip4/127.0.0.1/tcp/0",)
        )
        await run_bootstrap(options, stop, lambda addresses: stop.set())


async def test_an_agent(tmp_path: Path) -> None:
    """Until it has asked its chain and its hardware."""
    stop = trio.Event()
    options = AgentOptions(
        tmp_path / "data", config_of(), new_account(), new_account(), skip_checks=True
    )

    async def end(watch: Watch) -> None:
        while True:
            await trio.sleep(0.1)
            if not missing("agent", watch):
                return stop.set()

    with watching() as watch:
        with trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end, watch)
                await run_agent(options, stop, lambda url: None)
    assert not watch.misuses, "\n".join(watch.misuses)
    assert missing("agent", watch) == []


async def test_files(tmp_path: Path) -> None:
    """A store keeps a batch; tokens are read and written; an invite is looked for in its file; a
    transaction is kept, and a piece of work; evidence is brought, fetched and read."""
    with exercised("files"):
        async with Store.open(tmp_path / "data", config_of().pool_ref) as store:
            await store.write((Put("meta", b"key", b"value"),))
        tokens = TokenTable("t" * 43, TokenFile(tmp_path))
        await tokens.load()
        await tokens.create("laptop", TokenScope.READ, None)
        (tmp_path / "invite").write_text("no invite")
        assert await find_in_file(tmp_path / "invite") is None
        journal = FileJournal.of(tmp_path, 1, KEPT.account)
        async with journal.held():
            await journal.save(KEPT)
            assert await journal.load() == KEPT
            await journal.clear()
        pieces = PieceJournal.of(tmp_path, SCOPE.node_id)
        await pieces.load()
        await pieces.keep(piece(1))
        agents = Agents(tmp_path)
        await offer(await agents.make(1))
        reader = await agents.make(0)
        for _ in range(2):
            assert await reader.document(VERDICT.verdict.evidence) == DOCUMENT


async def test_consent() -> None:
    """A node's key consents to its provider: for a command, and in an agent that joins."""
    provider, get = Address(b"\x01" * 20), function("ComputeRegistry", GET_NODE)
    nobody = "0x" + bytes(20).hex()
    unknown = "0x" + encode(get.outputs, [(nobody, nobody, "", 0, 0, False, False)]).hex()

    def answer(params: list[Any], honest: Any) -> Any:
        asks_node = params[0]["data"].startswith("0x" + get.call(bytes(20))[:4].hex())
        return {"result": unknown if asks_node else honest}

    async def nothing() -> None:
        return None

    rpc = Rpc.to(1, ["http://h.example"])
    rpc.endpoints[0].provider = Chain({"eth_call": answer})  # type: ignore[assignment]
    joining = Joining(
        chain=PoolContracts(rpc, AT),
        pool_id=7,
        node=new_account(),
        units=1,
        find_invite=nothing,
        writer=DryWriter(provider),
    )
    with exercised("consent"):
        assert len(await consent_by(KeySigner(new_account()), provider)()) == 65
        await joining.plan(provider)


async def test_checks(engine: Engine, tmp_path: Path) -> None:
    """`p2pool agent check`, with a container to probe in."""
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    config = config_of(runtime=RuntimeConfig(kind="docker", probe_image=BUSYBOX_IMAGE))
    with exercised("checks"):
        assert await run_checks(Subject(config, tmp_path, runtime))


async def test_webhooks(tmp_path: Path) -> None:
    """A receiver's secret is read, to check it and to sign."""
    async with receiving() as hook:
        config = webhook(tmp_path, f"http://127.0.0.1:{hook.port}/", allow_private=True)
        with exercised("webhooks"):
            assert await webhook_checks(NotifyConfig(webhooks=(config,)))
            await send_test(Receiver.of(config))


class Talker:
    """A client of an agent that has three lines for each copy."""

    def logs(self, copy: str, grant: Any, options: LogOptions) -> Iterator[list[Any]]:
        """One line at a time."""
        for number in range(3):
            yield [{"stream": "stdout", "at_ms": 0, "text": f"{copy} {number}\n"}]


def test_logs(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`p2pool task logs` reads each copy in a thread."""
    copies = [{"id": "a", "replica": 0}, {"id": "b", "replica": 1}]
    client: Any = Talker()
    with exercised("logs"):
        _read_all(
            client, copies, cast(Any, lambda: None), LogOptions(), _Writer(True, False, False)
        )
    assert sorted(capfdbinary.readouterr().out.split(b"\n"))[1:3] == [b"0 | a 0", b"0 | a 1"]


async def live(runtime: ContainerRuntime) -> None:
    """A copy's life: it begins, talks, ends, begins again, does not listen, is killed, is gone."""
    deaf = plan(f"trap '' TERM; echo one; {FOREVER}")
    await runtime.start(deaf)
    async for batch in runtime.logs(deaf.allocation, 1, follow=True):
        assert batch[0].data == b"one\n"
        break
    assert await lines(runtime, deaf, tail_lines=1) == ["one"]
    await runtime.stop(deaf.allocation, 1, 100)
    await runtime.restart(deaf.allocation, 1)
    await runtime.stop(deaf.allocation, 1, 100)
    with pytest.raises(NotFound):
        await runtime.read_file(deaf.allocation, 1, "/none", 8)
    await runtime.remove(deaf.allocation, 1)
    assert await runtime.list() == ()


async def test_processes(tmp_path: Path) -> None:
    """A copy that is a process."""
    with exercised("processes"):
        await live(ProcessRuntime(SCOPE, tmp_path))


def ended(task_id: TaskId, used_at_ms: int) -> bool:
    """Every task has ended."""
    return True


def commit_volume(client: Any) -> None:
    """An image that names a volume of its own."""
    made = client.create_container(BUSYBOX_IMAGE, ["true"], runtime="runc")
    client.commit(made, *WITH_VOLUME.split(":"), changes=["VOLUME /own"])
    client.remove_container(made)


async def test_containers(engine: Engine, tmp_path: Path) -> None:
    """A copy that is a container, with a GPU and volumes; and one that cannot be started."""
    settings = Settings(disk_reserve_bytes=0, bind_directories=(tmp_path,))
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    mount = Mount(MountKind.TASK, "/data", "data", size_bytes=MIB)
    before = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    if await before.helper.loaded():  # By an agent of another test.
        before.client().remove_image(await before.helper.reference(), force=True)
    commit_volume(before.client())
    with exercised("containers"):
        await runtime.probe_directories()
        await live(runtime)
        async with trio.open_nursery() as nursery:
            watched = aclosing(runtime.watch())
            nursery.start_soon(_first_of, watched)
            disk = Resources(cpu_milli=500, memory_bytes=64 * MIB, disk_bytes=MIB)
            wanted = plan("echo x > /data/x", mounts=(mount,), resources=disk)
            await run_to_end(runtime, wanted)
        assert b"".join([piece async for piece in runtime.volumes.export(volume_id(wanted))])
        assert [one.id for one in await runtime.volumes.list()] == [volume_id(wanted)]
        held = RunningCopy(wanted.allocation, 1, wanted.spec)
        assert await runtime.overused([held]) == ()
        await runtime.remove(wanted.allocation, 1)
        ran = await runtime.helper.run(("/bin/cat",), stdin=b"words", deadline_ms=20_000)
        assert ran.stdout == b"words"
        await runtime.volumes.remove(volume_id(wanted))
        assert await runtime.tidy(ended, Retention(0, 0)) == ()
        with pytest.raises(CannotStart):
            await runtime.start(plan("true", command=("no-such-program",), init=False))
        own = plan(FOREVER, replica=2, image=WITH_VOLUME, resources=disk)
        await runtime.start(own)
        assert await runtime.overused([RunningCopy(own.allocation, 1, own.spec)]) == ()
        await runtime.stop(own.allocation, 1, 0)
        await runtime.remove(own.allocation, 1)
        with_secret = secret_plan("true", FILE, replica=3)
        await run_to_end(runtime, with_secret)
        await runtime.remove(with_secret.allocation, 1)
        with_gpu = plan("true", gpus=("GPU-1",), replica=1)
        await run_to_end(runtime, with_gpu)
        await runtime.remove(with_gpu.allocation, 1)


def volume_id(of: ContainerPlan) -> str:
    """The volume of its one mount."""
    return f"task/{of.allocation}/data"


async def test_challenges(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validator's challenge, with a prover in a container, of which every answer is long."""
    monkeypatch.setattr(limits, "PROVER_ANSWER_SHORT_BYTES", 0)
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    await runtime.probe()
    client = await trio.to_thread.run_sync(runtime.client)
    image = (await trio.to_thread.run_sync(make_prover_image, client)).digest
    machine = doubles.Machine((Gpu("CPU-0", MODEL, 16_384),))
    place = doubles.Place(ChallengeConfig(images=(image,)), runtime.provers, machine)
    with exercised("challenges"):
        async with place.stream() as talk:
            await doubles.Validator(talk, accepts=(image,)).challenge()
    assert place.server.counters["served"] == 1


async def _first_of(watched: Any) -> None:
    async with watched as changes:
        async for _ in changes:
            return


async def test_images(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is fetched from a registry with its progress, and deleted for room; one is made."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    settings = Settings(
        docker_config=tmp_path, disk_reserve_bytes=0, images_max_bytes=1, image_grace_ms=0
    )
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    roomy = attrs.evolve(settings, images_max_bytes=0)
    keeps = DockerRuntime(SCOPE, tmp_path / "keeps", base_url=engine.url, settings=roomy)
    told: list[PullProgress] = []

    def progress(one: PullProgress) -> None:
        trio.current_time()  # It is told in trio's thread, though it is read in another.
        told.append(one)

    login = RegistryAuth(USER, PASSWORD)
    with (
        running_registry(tmp_path / "registry", engine) as registry,
        running_registry(tmp_path / "private", engine, login=True) as private,
    ):
        registry.push("small:1", mib=1)
        private.push("tool:1", mib=1)
        with exercised("images"):
            await runtime.pull(f"{registry.host}/small:1", progress)
            await keeps.pull(f"{private.host}/tool:1", policy=PullPolicy.ALWAYS, auth=login)
            with pytest.raises(P2poolError):  # The registry is asked, and says no.
                await keeps.pull(f"{private.host}/tool:1")
            await keeps.images.forget_private()
            kind, image = await choose(tmp_path, lambda text: None)
    await trio.to_thread.run_sync(remove_image, image)
    assert told
    assert (kind, image.brought) == ("docker", True)
    assert image.name != WANTED
