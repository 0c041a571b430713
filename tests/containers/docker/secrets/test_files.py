"""What a copy gets of its secrets, looked at from inside it, from the engine and from the disk."""

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from docker.errors import APIError

from p2pool.dev.engine.engine import BUSYBOX, BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker import runtime as docker_runtime
from p2pool.drivers.containers.docker.container.labels import name_of
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import CannotStart, NodeCannotStart, RuntimeUnavailable
from p2pool.model.ports.runtime import ContainerState
from p2pool.model.tasks.secrets import SecretValue
from p2pool.model.tasks.spec import PublishedPort
from tests.containers.docker.secrets.copies import (
    FILE,
    TEXT,
    USED,
    VALUE,
    VARIABLE,
    build,
    end_all,
    inside,
    mounted,
    on_disk,
    read_out,
    secret_plan,
)
from tests.containers.harness.plans import FOREVER, SCOPE, first_lines, lines, plan, run_to_end

pytestmark = pytest.mark.docker

SCRATCH = "p2pool-test/scratch:1"
DEADLINE_S = 60


@pytest.fixture
async def runtime(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    """A runtime whose copies, and their volumes, are gone after the test."""
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    yield made
    await end_all(made)


# --- files --------------------------------------------------------------------------------------


async def test_a_secret_is_a_file_in_memory_for_the_copys_user(
    runtime: DockerRuntime, engine: Engine, client: Any
) -> None:
    """Byte for byte, mode 0400, in a directory that nobody else can list, read-only."""
    wanted = secret_plan(FOREVER, FILE, SecretValue("empty", b""))
    await runtime.start(wanted)
    place = "/run/secrets/db.password"
    assert inside(client, wanted, "stat", "-c", "%a %u:%g %s", place) == (
        0,
        f"400 0:0 {len(VALUE)}\n",
    )
    assert inside(client, wanted, "stat", "-f", "-c", "%t", place) == (0, "858458f6\n")
    assert inside(client, wanted, "ls", "-A", "/run/secrets") == (0, "db.password\nempty\n")
    assert inside(client, wanted, "stat", "-c", "%a", "/run/secrets") == (0, "500\n")
    name = name_of(SCOPE, wanted.allocation, wanted.attempt)
    made = client.exec_create(name, ["cat", place])
    assert client.exec_start(made["Id"]) == VALUE
    for command in (("cat", place), ("ls", "/run/secrets")):
        code, said = inside(client, wanted, *command, user="4242:4242")
        assert code
        assert "Permission denied" in said
    assert inside(client, wanted, "sh", "-c", f"echo x > {place}")[0]
    assert inside(client, wanted, "sh", "-c", "echo $P2POOL_SECRETS") == (0, "/run/secrets\n")
    assert len(mounted(engine)) == 1


@pytest.mark.parametrize(
    ("user", "owner"),
    [("app", "1000:1001"), ("app:staff", "1000:50"), ("4242", "4242:0"), ("4242:77", "4242:77")],
)
async def test_the_images_user_owns_it(
    runtime: DockerRuntime, client: Any, user: str, owner: str
) -> None:
    """By name or by number: it reads them, and another user of the copy does not."""
    files = (
        "mkdir -p /etc /real; echo app:x:1000:1001::/: > /real/passwd;"
        " ln -s ../real/passwd /etc/passwd; echo staff:x:50: > /etc/group"
    )
    build(client, f"USER {user}", prepare=files)
    script = f"stat -c %u:%g /run/secrets/a; cat /run/secrets/a; {FOREVER}"
    wanted = secret_plan(script, SecretValue("a", b"mine\n"), image=USED)
    await runtime.start(wanted)
    with trio.fail_after(DEADLINE_S):
        said = await first_lines(runtime, wanted, 2)
    assert said == [owner, "mine"]
    assert inside(client, wanted, "cat", "/run/secrets/a", user="31:31")[0]


def volumes_of(client: Any) -> set[str]:
    """The names of an engine's volumes."""
    return {str(one["Name"]) for one in client.volumes()["Volumes"] or ()}


async def test_a_user_that_the_image_does_not_have_ends_the_start(
    runtime: DockerRuntime, client: Any
) -> None:
    """It is the task's fault, and nothing is left of it."""
    build(client, "USER ghost")
    before = volumes_of(client)  # Other tests use this engine, and what they made may still go.
    with pytest.raises(CannotStart, match="passwd"):
        await runtime.start(secret_plan("true", FILE, image=USED))
    assert await runtime.list() == ()
    assert volumes_of(client) <= before


async def test_what_the_image_has_there_is_not_seen(runtime: DockerRuntime, client: Any) -> None:
    """And a read-only root is no hindrance."""
    build(client, prepare="mkdir -p /run/secrets; echo old > /run/secrets/theirs")
    wanted = secret_plan("ls /run/secrets", FILE, image=USED, read_only=True)
    assert await read_out(runtime, wanted) == ["db.password"]


# --- variables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("init", [True, False])
async def test_a_secret_is_a_variable_beside_the_others(
    runtime: DockerRuntime, client: Any, init: bool
) -> None:
    """With every byte, in the copy's own process and in no argument; names as odd as images' own
    stay."""
    build(client, "ENV cluster.name=odd", "ENV TAKEN=image")
    script = (
        'printf "%s|" "$API_KEY"; echo; tr "\\0" "\\n" < /proc/$$/environ'
        ' | grep -E "^(cluster|TAKEN|OWN)"; ls -A /run/secrets; tr "\\0" " " < /proc/$$/cmdline;'
        ' echo; echo "pid $$"'
    )
    taken = SecretValue("t", b"secret", variable="TAKEN")
    environment = (("OWN", "1"),)
    wanted = secret_plan(script, VARIABLE, taken, image=USED, init=init, environment=environment)
    said = "\n".join(await read_out(runtime, wanted))
    assert TEXT.decode() + "|" in said
    assert "cluster.name=odd" in said
    assert "TAKEN=secret" in said
    assert "TAKEN=image" not in said
    assert "OWN=1" in said
    assert "\n.init\n.variables\nt\n" in said
    assert "canary" not in said.partition("\n.init\n")[2]
    assert ("pid 1" in said) is not init


def scratch(client: Any, *changes: str) -> None:
    """An image that holds one program and nothing else: no shell, no list of users, no PATH."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(BUSYBOX, "app/env")
    client.import_image_from_data(data.getvalue(), *SCRATCH.split(":"), changes=list(changes))


async def test_an_image_without_a_shell(runtime: DockerRuntime, client: Any) -> None:
    """Its entrypoint and command are those that it says, word by word, found by its own PATH in its
    own directory, as its own user."""
    scratch(
        client,
        "USER 7:8",
        "WORKDIR /app",
        "ENV PATH=/nowhere:/app",
        'ENTRYPOINT ["env"]',
        'CMD ["X=1"]',
    )
    image = secret_plan("", VARIABLE, image=SCRATCH, command=(), init=False)
    said = "\n".join(await read_out(runtime, image))
    assert "API_KEY=canary" in said
    assert "X=1" in said
    await runtime.remove(image.allocation, image.attempt)
    # A command takes the place of the image's, an entrypoint that of both.
    task_command: tuple[tuple[str, ...], tuple[str, ...], str] = ((), ("-i", "Y=2"), "Y=2")
    for number, (entrypoint, command, wanted) in enumerate(
        (task_command, (("./env", "-i", "Z=3"), (), "Z=3")), 1
    ):
        other = secret_plan(
            "",
            VARIABLE,
            image=SCRATCH,
            entrypoint=entrypoint,
            command=command,
            init=False,
            replica=number,
        )
        assert await read_out(runtime, other) == [wanted]


async def test_words_reach_the_command_as_they_are(runtime: DockerRuntime) -> None:
    """Whatever a shell would make of them."""
    odd = ("a b", "it's", '"q"', "$X", "", "c\nd", "*", "\\")
    wanted = secret_plan("", VARIABLE, command=("printf", "[%s]", *odd))
    said = "\n".join(await read_out(runtime, wanted))
    assert said == "".join(f"[{one}]" for one in odd)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("nothing-of-that-name",), 127, "there is no such command"),
        (("/etc",), 126, "cannot be run"),
        (("./none",), 127, "there is no such command"),
    ],
)
async def test_a_command_that_cannot_run_says_so(
    runtime: DockerRuntime, client: Any, command: tuple[str, ...], code: int, said: str
) -> None:
    """With docker's exit codes, and no value in what it says."""
    build(client, prepare="mkdir -p /etc")
    wanted = secret_plan("", VARIABLE, command=command, image=USED)
    status = await run_to_end(runtime, wanted)
    assert status.exit_code == code
    told = "\n".join(await lines(runtime, wanted))
    assert said in told
    assert "canary" not in told


async def test_a_task_without_any_command_is_refused(runtime: DockerRuntime) -> None:
    """As the engine would: what we put first is none."""
    with pytest.raises(CannotStart, match="no command"):
        await runtime.start(secret_plan("", VARIABLE, command=()))


async def test_signals_go_to_the_command(runtime: DockerRuntime) -> None:
    """It is the first process, or the engine's init passes them on; nothing of ours stands by."""
    for number, init in enumerate((True, False)):
        script = f"trap 'echo ended; exit 5' TERM; echo up; {FOREVER}"
        wanted = secret_plan(script, VARIABLE, init=init, replica=number)
        await runtime.start(wanted)
        with trio.fail_after(DEADLINE_S):
            await first_lines(runtime, wanted, 1)
        await runtime.stop(wanted.allocation, wanted.attempt, DEADLINE_S * 1000)
        assert (await lines(runtime, wanted))[-1] == "ended"


# --- where they are not -------------------------------------------------------------------------


async def test_no_disk_configuration_or_argument_holds_a_value(
    runtime: DockerRuntime, engine: Engine, client: Any, tmp_path: Path
) -> None:
    """While it runs and after its end: the engine's whole directory, its answers, the agent's."""
    wanted = secret_plan(FOREVER, FILE, VARIABLE)
    await runtime.start(wanted)
    words = (b"canary-of-it", b"canary-in-a-variable")
    name = name_of(SCOPE, wanted.allocation, wanted.attempt)
    for _ in range(2):
        assert on_disk(engine, *words) == []
        told = str([client.inspect_container(one) for one in (name, f"{name}-net")])
        told += str(client.volumes()) + str(client.info()) + str(client.containers(all=True))
        assert "canary" not in told
        files = [one for one in tmp_path.rglob("*") if one.is_file()]
        assert not [one for one in files if b"canary" in one.read_bytes()]
        await runtime.stop(wanted.allocation, wanted.attempt, 0)
        await runtime.list()
    assert mounted(engine) == []
    # What a look of this kind finds: the same word where it is no secret.
    client.create_container(BUSYBOX_IMAGE, ["true"], environment={"X": "canary-of-it"})
    assert on_disk(engine, words[0])


async def test_a_copy_with_secrets_dumps_no_core(runtime: DockerRuntime) -> None:
    """Not into a file, and not into a program: a limit of one byte stops both."""
    wanted = secret_plan("grep core /proc/self/limits", FILE)
    (said,) = await read_out(runtime, wanted)
    assert said.split()[4:6] == ["1", "1"]


async def test_nothing_is_written_where_the_engine_has_a_disk(
    runtime: DockerRuntime, engine: Engine, client: Any
) -> None:
    """A volume of that name which somebody made before: it is looked at first."""
    wanted = secret_plan(FOREVER, FILE)
    name = name_of(SCOPE, wanted.allocation, wanted.attempt)
    client.create_volume(f"{name}-secrets")
    with pytest.raises(NodeCannotStart, match="on its disk"):
        await runtime.start(wanted)
    assert on_disk(engine, b"canary-of-it") == []
    assert await runtime.list() == ()


# --- starts and ends ----------------------------------------------------------------------------


async def test_a_restart_gives_them_anew(runtime: DockerRuntime, engine: Engine) -> None:
    """The new values, in place of the old ones, and none of what is no more; never without."""
    script = 'cat /run/secrets/*; echo "$API_KEY"'
    first = (SecretValue("a", b"1\n"), SecretValue("b", b"2\n"), VARIABLE)
    wanted = secret_plan(script, *first)
    await read_out(runtime, wanted)
    await runtime.list()
    assert mounted(engine) == []
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.restart(wanted.allocation, wanted.attempt)
    changed = SecretValue("api_key", b"rotated", file=False, variable="API_KEY")
    await runtime.restart(wanted.allocation, wanted.attempt, (SecretValue("a", b"3\n"), changed))
    async for _ in runtime.logs(wanted.allocation, wanted.attempt, follow=True):
        pass
    said = await lines(runtime, wanted)
    assert said[-2:] == ["3", "rotated"]


async def test_a_copy_that_has_not_got_them_is_not_made(runtime: DockerRuntime) -> None:
    """Its specification says what it needs."""
    wanted = attrs.evolve(secret_plan(FOREVER, FILE, VARIABLE), secrets=(FILE,))
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.start(wanted)
    assert await runtime.list() == ()


async def test_an_agent_that_dies_before_the_start_leaves_no_copy_that_runs_without(
    runtime: DockerRuntime, engine: Engine, client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The copy has not begun, begins by no other way, and begins once the next agent has them."""
    wanted = secret_plan(f"cat /run/secrets/db.password; {FOREVER}", FILE)

    async def dies(*_: object) -> None:
        raise RuntimeUnavailable("killed")

    with monkeypatch.context() as patched:
        patched.setattr(docker_runtime, "deliver", dies)
        with pytest.raises(RuntimeUnavailable, match="killed"):
            await runtime.start(wanted)
    successor = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    (status,) = await successor.list()
    assert status.state is ContainerState.CREATED
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await successor.start(attrs.evolve(wanted, secrets=(), spec=plan("x").spec))
    assert (await successor.start(wanted)).state is ContainerState.RUNNING
    assert inside(client, wanted, "stat", "-c", "%s", "/run/secrets/db.password") == (
        0,
        f"{len(VALUE)}\n",
    )
    # A copy that runs is left alone, with what it has.
    assert (await successor.start(wanted)).state is ContainerState.RUNNING
    assert inside(client, wanted, "ls", "/run/secrets") == (0, "db.password\n")


async def test_nobody_else_starts_it_without_them(runtime: DockerRuntime, client: Any) -> None:
    """Not `docker start`: where they would lie does not run."""
    wanted = secret_plan("true", FILE)
    await read_out(runtime, wanted)
    await runtime.list()
    with pytest.raises(APIError):
        client.start(name_of(SCOPE, wanted.allocation, wanted.attempt))


async def test_a_removal_leaves_no_volume(
    runtime: DockerRuntime, engine: Engine, client: Any, tmp_path: Path
) -> None:
    """Nor does an agent that died in the midst of one: its successor sweeps."""
    before = volumes_of(client)
    wanted = secret_plan("true", FILE)
    await read_out(runtime, wanted)
    (name,) = volumes_of(client) - before
    volume = client.inspect_volume(name)
    assert volume["Options"]["type"] == "ramfs"
    await runtime.remove(wanted.allocation, wanted.attempt)
    assert volumes_of(client) == before
    client.create_volume("left", driver_opts=volume["Options"], labels=volume["Labels"])
    client.create_volume("foreign")
    await DockerRuntime(SCOPE, tmp_path, base_url=engine.url).list()
    assert volumes_of(client) - before == {"foreign"}
    client.remove_volume("foreign")


async def test_where_isolation_is_off(engine: Engine, client: Any, tmp_path: Path) -> None:
    """The same, on the engine's own network; its ports are published all the same. Once isolation
    is on, that copy does not run again."""
    before = volumes_of(client)
    settings = Settings(isolation=False, disk_reserve_bytes=0)
    made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url, settings=settings)
    script = f"cat /run/secrets/a; {FOREVER}"
    port = PublishedPort(8000, 18001)
    wanted = secret_plan(script, SecretValue("a", b"here\n"), VARIABLE, ports=(port,))
    try:
        await made.start(wanted)
        with trio.fail_after(DEADLINE_S):
            said = await first_lines(made, wanted, 1)
        assert said == ["here"]
        (box,) = client.containers(filters={"label": ["p2pool.sandbox"]})
        assert list(box["NetworkSettings"]["Networks"]) == ["bridge"]
        assert [one.get("PublicPort") for one in box["Ports"]][:1] == [18001]
        await made.stop(wanted.allocation, wanted.attempt, 0)
        await made.restart(wanted.allocation, wanted.attempt, wanted.secrets)
    finally:
        await end_all(made)
    assert volumes_of(client) == before
