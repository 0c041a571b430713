"""The helper image on a real engine: loaded, never confounded, run with the rights it is given."""

from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.dev.engine.runtime import choose, remove_image
from p2pool.drivers.containers.docker.container.labels import scope_labels
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.helper import Helper, HelperMount
from p2pool.drivers.containers.docker.images.helper_image import LABEL, helper_image
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import CannotStart, NodeCannotStart, Overloaded, RuntimeUnavailable
from p2pool.model.ports.runtime import RuntimeScope
from tests.containers.harness.plans import FOREVER, OTHER, SCOPE, plan

pytestmark = pytest.mark.docker

SOON_MS = 20_000
SH = ("/bin/busybox", "sh", "-c")


@pytest.fixture
async def helper(engine: Engine, client: Any) -> Helper:
    """A helper on an engine that does not have its image yet; `client` removes it afterwards."""
    name = helper_image("linux/amd64").reference
    if client.images(name):
        client.remove_image(name, force=True)
    return Helper(SCOPE, DockerClient(engine.url))


async def test_the_image_is_loaded_from_the_package(helper: Helper, client: Any) -> None:
    """An engine without the image gets ours, under our name; one that lost it gets it again."""
    wanted = helper_image("linux/amd64")
    for row in client.images(wanted.reference):
        client.remove_image(row["Id"], force=True)
    assert await helper.ready() in wanted.ids
    (row,) = client.images(wanted.reference)
    assert wanted.is_it(client.inspect_image(row["Id"]))
    client.remove_image(row["Id"], force=True)
    ran = await helper.run((*SH, "echo here"), deadline_ms=SOON_MS)
    assert ran == (0, b"here\n", b"")


async def test_a_foreign_image_of_the_name_is_not_taken(helper: Helper, client: Any) -> None:
    """Somebody gives another image our name: what runs is ours all the same."""
    name, _, tag = helper_image("linux/amd64").reference.partition(":")
    client.tag(BUSYBOX_IMAGE, name, tag)
    foreign = client.inspect_image(BUSYBOX_IMAGE)["Id"]
    assert await helper.ready() != foreign
    ran = await helper.run(("/usr/sbin/nft", "--version"), deadline_ms=SOON_MS)
    assert (ran.exit_code, ran.stdout[:8]) == (0, b"nftables")


async def test_the_image_is_not_the_agents_to_delete(
    helper: Helper, engine: Engine, tmp_path: Path
) -> None:
    """Neither making room nor a limit on images takes it, although no container uses it."""
    await helper.ready()
    settings = Settings(images_max_bytes=1, image_grace_ms=0)
    images = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings).images
    assert await images.collect() == await images.collect(lambda: False) == []
    assert await helper.loaded()


async def test_a_container_has_nothing_that_it_was_not_given(
    helper: Helper, client: Any, tmp_path: Path
) -> None:
    """No network, no capability, no writable root, no log, and one directory."""
    (tmp_path / "file").write_text("inside")
    script = (
        "cat /d/file; grep CapEff /proc/self/status; ls /sys/class/net; ip route;"
        " touch /x 2>&1; touch /d/x 2>&1"
    )
    mount = HelperMount(tmp_path, "/d", read_only=True)
    ran = await helper.run((*SH, script), mounts=(mount,), deadline_ms=SOON_MS)
    said = ran.stdout.decode()
    assert said.startswith("insideCapEff:\t0000000000000000\nlo\n")
    assert said.count("Read-only file system") == 2
    assert client.containers(all=True) == []
    ran = await helper.run(
        (*SH, "grep CapEff /proc/self/status"), capabilities=("NET_ADMIN",), deadline_ms=SOON_MS
    )
    assert ran.stdout == b"CapEff:\t0000000000001000\n"


async def test_rules_are_set_in_a_copys_network(
    helper: Helper, docker_runtime: DockerRuntime, client: Any
) -> None:
    """nft reads rules from standard input and sets them in the network of a running container."""
    await docker_runtime.start(plan(FOREVER))
    (row,) = client.containers(filters={"label": ["p2pool.task"]})
    rules = (
        b"table inet p2pool {\nchain out {\ntype filter hook output priority 0; policy drop\n}\n}\n"
    )
    nft, admin = "/usr/sbin/nft", ("NET_ADMIN",)
    ran = await helper.run(
        (nft, "-f", "-"),
        network_of=row["Id"],
        capabilities=admin,
        stdin=rules,
        deadline_ms=SOON_MS,
    )
    assert ran == (0, b"", b"")
    for there, code in ((row["Id"], 0), (None, 1)):
        ran = await helper.run(
            (nft, "list", "table", "inet", "p2pool"),
            network_of=there,
            capabilities=admin,
            deadline_ms=SOON_MS,
        )
        assert ran.exit_code == code
        assert (b"policy drop" in ran.stdout) is (code == 0)


async def test_input_and_output_larger_than_any_buffer(helper: Helper) -> None:
    """What is written while the input is still read comes whole, and a failure is the command's."""
    data = bytes(range(256)) * 8000
    ran = await helper.run((*SH, "wc -c; echo no >&2; exit 7"), stdin=data, deadline_ms=SOON_MS)
    assert ran == (7, f"{len(data)}\n".encode(), b"no\n")
    half = data[: limits.HELPER_OUTPUT_MAX_BYTES]
    assert (await helper.run(("/bin/cat",), stdin=half, deadline_ms=SOON_MS)).stdout == half
    with pytest.raises(RuntimeUnavailable, match="writes too much"):
        await helper.run(("/bin/cat",), stdin=data, deadline_ms=SOON_MS)
    assert (await helper.run(("/bin/false",), stdin=data, deadline_ms=SOON_MS)).exit_code == 1


async def test_a_command_has_a_deadline_and_leaves_nothing(helper: Helper, client: Any) -> None:
    """What does not end is removed; so is what could not start."""
    await helper.ready()
    with pytest.raises(RuntimeUnavailable, match="did not end within"):
        await helper.run(("/bin/sleep", "1000"), deadline_ms=1000)
    with pytest.raises(CannotStart):
        await helper.run(("/bin/no-such-program",), deadline_ms=SOON_MS)
    mount = HelperMount(Path("/no/such/place"), "/d")
    with pytest.raises(NodeCannotStart, match="bind source path does not exist"):
        await helper.run(("/bin/true",), mounts=(mount,), deadline_ms=SOON_MS)
    assert client.containers(all=True) == []


async def test_a_slow_reader_slows_the_command_down(helper: Helper, client: Any) -> None:
    """An endless command is held by its reader, the number of readers is bounded, and the one that
    leaves ends its container."""
    await helper.ready()
    async with helper.stream(("/bin/cat", "/dev/zero")) as running:
        assert len(await running.stdout.__anext__()) > 0
        await trio.sleep(0.5)
        (row,) = client.containers()
        before = client.stats(row["Id"], stream=False)["cpu_stats"]["cpu_usage"]["total_usage"]
        await trio.sleep(0.5)
        after = client.stats(row["Id"], stream=False)["cpu_stats"]["cpu_usage"]["total_usage"]
        assert after - before < 100_000_000  # A tenth of a second of processor time.
    assert client.containers(all=True) == []
    async with trio.open_nursery() as nursery:
        for _ in range(limits.VOLUME_EXPORTS_MAX):
            await nursery.start(_hold, helper)
        with pytest.raises(Overloaded):
            async with helper.stream(("/bin/true",)):
                pass
        nursery.cancel_scope.cancel()


async def _hold(helper: Helper, task_status: trio.TaskStatus[None]) -> None:
    async with helper.stream(("/bin/cat", "/dev/zero")):
        task_status.started()
        await trio.sleep_forever()


async def test_a_killed_agents_helpers_are_swept(
    helper: Helper, engine: Engine, client: Any
) -> None:
    """The next agent removes what its predecessor left, and neither another node's helper, nor one
    of its own that still works, nor a copy."""
    left = []
    image = await helper.ready()
    for scope in (SCOPE, OTHER):
        body = {"Image": image, "Cmd": ["/bin/sleep", "1000"], "Labels": _labels(scope)}
        made = client.create_container_from_config(body, None)["Id"]
        client.start(made)
        left.append(made)
    runtime = DockerRuntime(SCOPE, Path("/nowhere"), base_url=engine.url)
    assert await runtime.list() == ()
    async with helper.stream(("/bin/cat", "/dev/zero")) as running:
        await helper.sweep()  # So young, it may be a program's that runs beside the agent.
        assert {row["Id"] for row in client.containers()} > set(left)
        await helper.sweep(young=True)
        names = {row["Names"][0].lstrip("/") for row in client.containers()}
        assert running.name in names
        assert {row["Id"] for row in client.containers()} & set(left) == {left[1]}


def _labels(scope: RuntimeScope) -> dict[str, str]:
    return scope_labels(scope) | {LABEL: "1"}


async def test_a_development_pool_takes_away_what_it_brought(
    helper: Helper, client: Any, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper image goes with the pool, unless it was here before."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    _, image = await choose(tmp_path, lambda text: None)
    await helper.ready()
    assert image.helper
    await trio.to_thread.run_sync(remove_image, image)
    assert not await helper.loaded()
    await Helper(SCOPE, DockerClient(engine.url)).ready()
    _, image = await choose(tmp_path, lambda text: None)
    await trio.to_thread.run_sync(remove_image, image)
    assert await helper.loaded()
