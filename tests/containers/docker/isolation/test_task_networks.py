"""What a copy can reach, found by scanning from inside it, on a real engine in a small world."""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.networks import isolation
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import NodeExhausted, RuntimeUnavailable
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.ports.runtime import ContainerPlan
from p2pool.model.ports.volumes import Retention
from p2pool.model.tasks.spec import PublishedPort
from tests.containers.docker.isolation.world import (
    DNS,
    INTERNET,
    METADATA,
    NEIGHBOURS,
    PORT,
    PUBLIC_OF_HOST,
    RESOLVER,
    inside,
    world,
)
from tests.containers.harness.plans import FOREVER, OTHER, SCOPE, lines, plan, run_to_end
from tests.containers.harness.private_engine import private_engine

pytestmark = pytest.mark.docker

SERVE = "while :; do nc -l -p 8000 -e echo hi; done & while :; do nc -l -p 9000 -e echo hi; done"
DEADLINE_S = 60
MANY = 200
Target = tuple[str, int]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine of its own, with a world around it."""
    directory = Path(tempfile.mkdtemp(prefix="p2n", dir="/tmp"))
    with private_engine(directory) as running, world(running):
        yield running


@pytest.fixture
def client(engine: Engine) -> Iterator[Any]:
    """The SDK, to see what the engine holds."""
    made = docker.APIClient(base_url=engine.url, version="auto")
    yield made
    made.close()


@pytest.fixture
async def runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime whose copies are gone after the test."""
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    yield made
    await end_all(made)


async def end_all(runtime: DockerRuntime) -> None:
    """Stop and remove every copy."""
    for status in await runtime.list():
        await runtime.stop(status.allocation, status.attempt, 0)
        await runtime.remove(status.allocation, status.attempt)


def of_task(number: int, script: str, **of_spec: Any) -> ContainerPlan:
    """A plan of one of several tasks."""
    wanted = plan(script, **of_spec)
    name = AllocationId(TaskId(number.to_bytes(16, "big")), wanted.allocation.replica)
    return attrs.evolve(wanted, allocation=name)


def scan(targets: Sequence[Target]) -> str:
    """A script that says which of these a copy reaches."""
    return "\n".join(
        f"nc -w 2 {address} {port} </dev/null 2>/dev/null | grep -q h && echo {address} {port}"
        for address, port in targets
    )


async def reached(
    runtime: DockerRuntime, targets: Sequence[Target], number: int = 2, **of_spec: Any
) -> set[Target]:
    """What a new copy of a task reaches."""
    wanted = of_task(number, scan(targets) + "\ntrue", **of_spec)
    await run_to_end(runtime, wanted)
    found = [line.split() for line in await lines(runtime, wanted)]
    await runtime.remove(wanted.allocation, wanted.attempt)
    return {(address, int(port)) for address, port in found}


def address_of(client: Any, replica: int = 0) -> str:
    """Where the copy of a replica is, seen from inside it."""
    (row,) = client.containers(filters={"label": [f"p2pool.replica={replica}"]})
    made = client.exec_create(row["Id"], ["sh", "-c", "ip -o -4 addr show eth0"])
    return str(client.exec_start(made["Id"]).split()[3], "utf-8").partition("/")[0]


async def test_a_copy_reaches_its_task_and_the_internet_and_nothing_else(
    runtime: DockerRuntime, client: Any
) -> None:
    """Not another task's ports, published or not, nor its machine, neighbours or metadata."""
    web = of_task(1, SERVE, ports=(PublishedPort(8000, 18000),))
    await runtime.start(web)
    there = address_of(client)
    gateway = there.rpartition(".")[0] + ".1"
    machine = [(one, PORT) for one in (gateway, "172.17.0.1", "203.0.113.1", PUBLIC_OF_HOST)]
    others = [(there, 8000), (there, 9000), (gateway, 18000), (PUBLIC_OF_HOST, 18000)]
    site = [(one, PORT) for one in (*NEIGHBOURS, *METADATA)]
    public = [(INTERNET, PORT), (RESOLVER, DNS)]
    assert await reached(runtime, [*machine, *others, *site, *public]) == set(public)
    own = [(there, 8000), (there, 9000)]
    assert await reached(runtime, own, 1, replica=1) == set(own)


async def test_the_world_reaches_what_is_published(
    runtime: DockerRuntime, client: Any, engine: Engine
) -> None:
    """By the machine's port; not the copy's other ports, not even from the machine itself."""
    await runtime.start(of_task(1, SERVE, ports=(PublishedPort(8000, 18000),)))
    there = address_of(client)

    def connects(address: str, port: int) -> bool:
        command = f"busybox nc -w 2 {address} {port} </dev/null | grep -q hi"
        enter = ["nsenter", "-t", str(engine.namespaces.holder), "-n", "sh", "-c", command]
        return subprocess.run(enter, check=False).returncode == 0

    assert connects(PUBLIC_OF_HOST, 18000)
    assert not connects(there, 9000)


async def test_the_owner_opens_what_tasks_may_reach(engine: Engine, tmp_path: Path) -> None:
    """A network by its name, the machine by `host`; never another task's network."""
    targets = [("192.168.77.7", PORT), ("10.99.0.9", PORT), (PUBLIC_OF_HOST, PORT)]
    site = Settings(egress_opened=(ip_network("192.168.77.0/24"),))
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=site)
    assert await reached(runtime, targets) == {targets[0]}
    host = Settings(egress_host=True)
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=host)
    assert await reached(runtime, targets) == {targets[2]}
    wide = Settings(egress_opened=(ip_network("10.0.0.0/8"),), egress_host=True)
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=wide)
    await runtime.start(of_task(1, SERVE))
    client = docker.APIClient(base_url=engine.url, version="auto")
    there = address_of(client)
    client.close()
    assert await reached(runtime, [("10.99.0.9", PORT), (there, 8000)]) == {("10.99.0.9", PORT)}
    await end_all(runtime)


async def test_a_copy_finds_names(engine: Engine, tmp_path: Path) -> None:
    """By Docker's own resolver, which asks the configured one from within the copy's rules."""
    settings = Settings(resolvers=(ip_address(RESOLVER),))
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    ask = "nslookup -type=a name.example | grep -A 1 'Name:' | grep Address"
    wanted = of_task(1, f"grep nameserver /etc/resolv.conf; {ask}")
    await run_to_end(runtime, wanted)
    assert await lines(runtime, wanted) == ["nameserver 127.0.0.11", f"Address: {INTERNET}"]
    await end_all(runtime)


async def test_a_copy_that_starts_again_has_its_rules_again(
    runtime: DockerRuntime, engine: Engine
) -> None:
    """After its own end, and after an engine that went down with all it ran."""
    targets = [(INTERNET, PORT), ("10.99.0.9", PORT), (PUBLIC_OF_HOST, PORT)]
    wanted = of_task(1, f"{scan(targets)}\necho end; sleep 1; {FOREVER}")
    await runtime.start(wanted)

    async def rounds(number: int) -> list[str]:
        with trio.fail_after(DEADLINE_S):
            while True:
                said = await lines(runtime, wanted)
                if said.count("end") == number:
                    return said
                await trio.sleep(0.1)

    one = [f"{INTERNET} {PORT}", "end"]
    assert await rounds(1) == one
    await runtime.stop(wanted.allocation, 1, 0)
    await runtime.restart(wanted.allocation, 1)
    assert await rounds(2) == 2 * one
    await trio.to_thread.run_sync(engine.halt)
    await trio.to_thread.run_sync(engine.go_on)
    await runtime.restart(wanted.allocation, 1)
    assert await rounds(3) == 3 * one


async def test_a_machine_that_gets_another_address_is_shut_there_too(
    runtime: DockerRuntime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for copies that run already."""
    monkeypatch.setattr(limits, "HOST_VIEW_INTERVAL_MS", 0)
    new = ("8.8.7.7/32", "dev", "lo")
    wanted = of_task(1, f"while :; do {scan([('8.8.7.7', PORT)])} || echo shut; sleep 0.1; done")
    await runtime.start(wanted)
    inside(engine.namespaces, "ip", "addr", "add", *new)

    async def last_is(word: str) -> None:
        with trio.fail_after(DEADLINE_S):
            while True:
                said = await lines(runtime, wanted)
                if said and said[-1] == word:
                    return
                await trio.sleep(0.1)

    try:
        await last_is(f"8.8.7.7 {PORT}")
        await runtime.tidy(lambda task, at_ms: False, Retention(0, 0))
        await last_is("shut")
    finally:
        inside(engine.namespaces, "ip", "addr", "del", *new)


async def test_a_copy_does_not_outlive_its_sandbox(runtime: DockerRuntime, client: Any) -> None:
    """Its network would be gone; killed from outside, or removed, or both while nobody looked."""
    for replica, end in enumerate((client.kill, lambda i: client.remove_container(i, force=True))):
        wanted = of_task(1, FOREVER, replica=replica)
        await runtime.start(wanted)
        (box,) = client.containers(filters={"label": ["p2pool.sandbox"]})
        end(box["Id"])
        with trio.fail_after(DEADLINE_S):
            while True:
                if all(status.ended for status in await runtime.list()):
                    break
                await trio.sleep(0.05)


async def test_a_sandbox_is_no_leftover(
    runtime: DockerRuntime, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the helpers' image, and helpers that nobody waits for are removed: it is none."""
    monkeypatch.setattr(limits, "HELPER_LEFTOVER_MS", -60_000)
    await runtime.start(of_task(1, FOREVER))
    await runtime.tidy(lambda task, at_ms: False, Retention(0, 0))
    await runtime.helper.sweep(young=True)
    (box,) = client.containers(filters={"label": ["p2pool.sandbox"]})
    assert box["State"] == "running"
    (status,) = await runtime.list()
    assert not status.ended


async def test_the_end_of_a_sandbox_is_told(runtime: DockerRuntime, client: Any) -> None:
    """As a hint for its copy, so that nobody waits for the next look."""
    wanted = of_task(1, FOREVER)
    await runtime.start(wanted)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for change in runtime.watch():
                    assert (change.allocation, change.attempt) == (wanted.allocation, 1)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await trio.sleep(0.3)
            (box,) = client.containers(filters={"label": ["p2pool.sandbox"]})
            client.kill(box["Id"])


async def test_a_port_is_free_when_its_holder_has_ended(runtime: DockerRuntime) -> None:
    """The next copy takes the machine's port at once."""
    for number in (1, 2, 3):
        wanted = of_task(number, "sleep 0.2", ports=(PublishedPort(80, 18080),))
        status = await run_to_end(runtime, wanted)
        assert status.exit_code == 0


async def test_nothing_is_left(runtime: DockerRuntime, client: Any) -> None:
    """Of copies that were removed, of starts that failed; a task's network goes with its last."""
    before = {one["Id"] for one in client.networks()}
    first, second = of_task(1, FOREVER), of_task(1, FOREVER, replica=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.start, first)
        nursery.start_soon(runtime.start, second)
    assert len({one["Id"] for one in client.networks()} - before) == 1
    with pytest.raises(Exception, match="no-such-program"):
        await runtime.start(of_task(2, "", entrypoint=("no-such-program",), init=False))
    await runtime.stop(first.allocation, 1, 0)
    await runtime.remove(first.allocation, 1)
    assert len({one["Id"] for one in client.networks()} - before) == 1
    await runtime.stop(second.allocation, 1, 0)
    await runtime.remove(second.allocation, 1)
    assert {one["Id"] for one in client.networks()} == before
    assert client.containers(all=True) == []


async def test_what_a_killed_agent_left_is_swept(
    runtime: DockerRuntime, engine: Engine, client: Any, tmp_path: Path
) -> None:
    """Sandboxes without a copy and networks without a sandbox; never another agent's."""
    other = DockerRuntime(OTHER, tmp_path / "other", base_url=engine.url)
    await other.start(of_task(1, FOREVER))
    kept = {one["Id"] for one in client.networks()}
    for number in (1, 2):
        await runtime._isolation.join(of_task(number, FOREVER))
    (box,) = [
        row["Id"]
        for row in client.containers(all=True, filters={"label": ["p2pool.sandbox"]})
        if f"{1:032x}" in row["Labels"]["p2pool.sandbox"] and row["State"] == "created"
    ]
    client.remove_container(box)
    assert await DockerRuntime(SCOPE, tmp_path, base_url=engine.url).list() == ()
    assert {one["Id"] for one in client.networks()} == kept
    assert len(client.containers(all=True)) == 2
    await end_all(other)


async def test_subnets_are_out_of_the_machines_way(
    engine: Engine, client: Any, tmp_path: Path
) -> None:
    """What it routes is left out, and so is what others hold; no room left is said."""
    vpn = ("10.213.0.0/25", "dev", "out0")
    inside(engine.namespaces, "ip", "route", "add", *vpn)
    settings = Settings(subnets=(IPv4Network("10.213.0.0/24"),))
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    foreign = client.create_network(
        "foreign",
        ipam=docker.types.IPAMConfig(
            pool_configs=[docker.types.IPAMPool(subnet="10.213.0.128/26")]
        ),
    )
    try:
        await runtime.start(of_task(1, FOREVER))
        assert address_of(client) == "10.213.0.194"
        large = of_task(2, FOREVER, replicas=30)
        with pytest.raises(NodeExhausted, match="No subnet is left"):
            await runtime.start(large)
        assert len(await runtime.list()) == 1
    finally:
        inside(engine.namespaces, "ip", "route", "del", *vpn)
        await end_all(runtime)
        client.remove_network(foreign["Id"])


async def test_a_kernel_without_filters_runs_nothing(
    runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    """The probe says so, and a copy never starts without its rules."""
    monkeypatch.setattr(isolation, "NFT", "/bin/false")
    with pytest.raises(RuntimeUnavailable, match="cannot filter") as refused:
        await runtime.probe()
    assert "isolation = false" in refused.value.hint
    with pytest.raises(RuntimeUnavailable, match="rules of a copy's network"):
        await runtime.start(of_task(1, FOREVER))
    assert client.containers(filters={"label": ["p2pool.task"]}) == []


async def test_isolation_that_is_off_is_told(engine: Engine, tmp_path: Path) -> None:
    """By the runtime itself, whoever asks; copies then share the engine's network."""
    settings = Settings(isolation=False)
    runtime = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    said = {one.feature: one.reason for one in (await runtime.probe()).unsupported}
    assert "reach each other" in said["network-isolation"]
    site = ("10.99.0.9", PORT)
    assert await reached(runtime, [site], ports=(PublishedPort(80),)) == {site}


async def test_many_tasks_have_a_network_each(runtime: DockerRuntime, client: Any) -> None:
    """Docker's own pools end at some thirty, and tasks on a node do not."""
    host = await runtime._isolation._host()
    networks = runtime._isolation._networks
    for number in range(MANY):
        async with networks.door:
            await networks.ensure(of_task(number, FOREVER), host)
    mine = client.networks(filters={"label": ["p2pool.network"]})
    subnets = [ip_network(one["IPAM"]["Config"][0]["Subnet"]) for one in mine]
    assert len(set(subnets)) == len(subnets) == MANY
    assert max(limits.TASK_SUBNET_MIN_ADDRESSES, 8) == max(one.num_addresses for one in subnets)
    await networks.sweep()
    assert client.networks(filters={"label": ["p2pool.network"]}) == []
