"""What a container can do and how much it gets, seen from inside it on a real engine."""

from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.container.plan import CAPABILITIES
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import NotOffered
from p2pool.model.ports.runtime import ContainerState
from p2pool.model.tasks.spec import Mount, MountKind, Resources
from tests.containers.harness.plans import FOREVER, MIB, SCOPE, lines, plan, run_to_end

pytestmark = pytest.mark.docker

HUNGRY = "sleep 0.5; x=a; while :; do x=$x$x; done"

DEADLINE_S = 60
# Bits of linux/capability.h, by the order of the kernel's.
BITS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
BITS |= {"NET_BIND_SERVICE": 10}


async def said(runtime: DockerRuntime, script: str, **of_spec: Any) -> list[str]:
    """What a script writes."""
    wanted = plan(script, **of_spec)
    await run_to_end(runtime, wanted)
    return await lines(runtime, wanted)


async def test_what_its_root_may_do(docker_runtime: DockerRuntime) -> None:
    """Few capabilities, no new ones by any file, the engine's own seccomp filter on."""
    script = "grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status"
    found = dict(line.split(":\t") for line in await said(docker_runtime, script))
    wanted = sum(1 << BITS[name] for name in CAPABILITIES)
    assert int(found["CapBnd"], 16) == int(found["CapEff"], 16) == wanted
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


async def test_it_cannot_do_what_needs_more(docker_runtime: DockerRuntime) -> None:
    """Mounting, making devices, changing the clock or the host's name: refused by the kernel."""
    script = (
        "mount -t tmpfs x /tmp 2>&1; mknod /n b 8 0 2>&1; hostname evil 2>&1;"
        " echo 1 > /proc/sys/kernel/panic; chroot / true 2>&1; ls /var/run/docker.sock; exit 0"
    )
    output = "\n".join(await said(docker_runtime, script))
    assert output.lower().count("permi") + output.count("not permitted") >= 4
    assert "docker.sock: No such file" in output


async def test_the_file_system_is_read_only_where_asked(docker_runtime: DockerRuntime) -> None:
    """Only its mounts can be written to."""
    mounts = (Mount(MountKind.TMPFS, "/tmp", size_bytes=MIB),)
    script = "touch /file 2>/dev/null || echo refused; echo x > /tmp/file && echo written"
    assert await said(docker_runtime, script, read_only=True, mounts=mounts) == [
        "refused",
        "written",
    ]


async def test_processes_are_counted(docker_runtime: DockerRuntime) -> None:
    """What forks without end stops at its number."""
    script = "for i in $(seq 40); do sleep 60 & done; echo done"
    wanted = plan(script, resources=Resources(memory_bytes=64 * MIB, pids=12))
    status = await run_to_end(docker_runtime, wanted)
    output = "\n".join(await lines(docker_runtime, wanted))
    assert status.exit_code != 0 or "can't fork" in output
    assert "can't fork" in output or "Resource temporarily unavailable" in output


ORPHANS = """BEGIN {
  for (i = 0; i < 40; i++) if (system("sh -c 'true & exit 0' 2>/dev/null")) { print "cannot"; exit }
  print "done"
}"""


@pytest.mark.parametrize(("init", "last"), [(True, "done"), (False, "cannot")])
async def test_orphans_do_not_fill_the_limit_on_processes(
    docker_runtime: DockerRuntime, init: bool, last: str
) -> None:
    """A first process that reaps nobody keeps each orphan that has ended, and soon cannot fork; an
    init takes them in."""
    wanted = plan("", resources=Resources(memory_bytes=64 * MIB, pids=12), init=init)
    spec = attrs.evolve(wanted.spec, command=("awk", ORPHANS))
    wanted = attrs.evolve(wanted, spec=spec)
    await run_to_end(docker_runtime, wanted)
    assert await lines(docker_runtime, wanted) == [last]


async def test_shared_memory_and_tmpfs_have_a_size(docker_runtime: DockerRuntime) -> None:
    """Which the kernel enforces."""
    resources = Resources(memory_bytes=256 * MIB, shm_bytes=8 * MIB)
    mounts = (Mount(MountKind.TMPFS, "/scratch", size_bytes=4 * MIB),)
    script = (
        "df -k /dev/shm /scratch | awk 'NR>1{print $2}';"
        " dd if=/dev/zero of=/scratch/x bs=1M count=8 2>/dev/null || echo full"
    )
    found = await said(docker_runtime, script, resources=resources, mounts=mounts)
    assert found == ["8192", "4096", "full"]


async def test_processors_are_a_share(docker_runtime: DockerRuntime, engine: Engine) -> None:
    """A busy loop gets what it was given of each period, as the kernel has it."""
    found = await said(
        docker_runtime,
        "cd /sys/fs/cgroup; cat cpu.max 2>/dev/null ||"
        " echo $(cat cpu/cpu.cfs_quota_us) $(cat cpu/cpu.cfs_period_us)",
        resources=Resources(cpu_milli=250, memory_bytes=64 * MIB),
    )
    quota, period = (int(part) for part in found[0].split())
    assert quota * 4 == period


async def test_swap_comes_on_top_where_it_is_asked_for(
    docker_runtime: DockerRuntime, engine: Engine
) -> None:
    """As the engine has it."""
    resources = Resources(memory_bytes=64 * MIB, swap_bytes=32 * MIB)
    await docker_runtime.start(plan(FOREVER, resources=resources))
    client = docker.APIClient(base_url=engine.url, version="auto")
    (row,) = client.containers(filters={"label": ["p2pool.task"]})
    host = client.inspect_container(row["Id"])["HostConfig"]
    client.close()
    assert (host["Memory"], host["MemorySwap"]) == (64 * MIB, 96 * MIB)
    assert {u["Name"]: u["Hard"] for u in host["Ulimits"]}["core"] == 0
    assert host["LogConfig"]["Config"]["max-file"] == "3"


async def test_out_of_memory_is_told_apart_from_a_kill(
    docker_runtime: DockerRuntime, engine: Engine
) -> None:
    """Both end with 137; one of them was the kernel's doing."""
    small = Resources(memory_bytes=16 * MIB)
    hungry = plan(HUNGRY, resources=small)
    killed = plan(FOREVER, replica=1)
    await docker_runtime.start(killed)
    client = docker.APIClient(base_url=engine.url, version="auto")
    (row,) = client.containers(filters={"label": ["p2pool.replica=1"]})
    client.kill(row["Id"], "SIGKILL")
    client.close()
    eaten = await run_to_end(docker_runtime, hungry)
    while True:
        found = {s.allocation.replica: s for s in await docker_runtime.list()}
        if found[1].ended:
            break
    assert (eaten.exit_code, eaten.oom_killed) == (137, True)
    assert (found[1].exit_code, found[1].oom_killed) == (137, False)


async def test_ten_deaths_by_memory_are_all_told(docker_runtime: DockerRuntime) -> None:
    """The engine hears of the kill and of the end by two ways: neither is lost.

    Each waits a moment first: Docker forgets the reason where a container ends within the
    milliseconds in which it still notes the start (20.10, on a loaded machine 6 times in 30).
    """
    small = Resources(memory_bytes=16 * MIB)
    for number in range(10):
        wanted = plan(HUNGRY, replica=number, resources=small)
        assert (await run_to_end(docker_runtime, wanted)).oom_killed


@pytest.mark.parametrize("place", ["/", "/etc", "/var/run", "/proc/self/root"])
async def test_the_hosts_directories_stay_outside(
    docker_runtime: DockerRuntime, place: str
) -> None:
    """Nobody allowed any."""
    mounts = (Mount(MountKind.BIND, "/host", place, read_only=True),)
    with pytest.raises(NotOffered, match="does not let"):
        await docker_runtime.start(plan(FOREVER, mounts=mounts))
    assert await docker_runtime.list() == ()


async def test_what_is_allowed_is_mounted_read_only(engine: Engine, tmp_path: Path) -> None:
    """Below the owner's directories, by its true place; never the agent's own, nor the engine's."""
    data, agent = tmp_path / "data", tmp_path / "agent"
    (data / "set").mkdir(parents=True)
    (data / "set" / "file").write_text("words\n")
    (data / "out").symlink_to("/etc")
    agent.mkdir()
    settings = Settings(bind_directories=(data, agent, engine.directory), agent_directory=agent)
    runtime = DockerRuntime(SCOPE, agent / "containers", base_url=engine.url, settings=settings)

    def bind(source: Path) -> tuple[Mount, ...]:
        return (Mount(MountKind.BIND, "/set", str(source), read_only=True),)

    script = "cat /set/file; touch /set/new 2>/dev/null || echo refused"
    wanted = plan(script, mounts=bind(data / "set"))
    try:
        await run_to_end(runtime, wanted)
        assert (await lines(runtime, wanted))[0] == "words"
        assert (await lines(runtime, wanted))[-1] == "refused"
        refused = {
            data / "out": "does not let",
            data / ".." / "agent": "no task may have",
            data / "none": "not a directory",
            engine.directory: "no task may have",
        }
        for source, why in refused.items():
            with pytest.raises(NotOffered, match=why):
                await runtime.start(plan("true", replica=1, mounts=bind(source)))
    finally:
        for status in await runtime.list():
            await runtime.remove(status.allocation, status.attempt)


async def test_health_is_the_images_own_check(
    docker_runtime: DockerRuntime, engine: Engine, tmp_path: Path
) -> None:
    """Starting, healthy, unhealthy, as HEALTHCHECK says; a change is a hint to look again."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    check = 'HEALTHCHECK --interval=1s --retries=1 CMD ["test", "-e", "/well"]'
    saved = tmp_path / "image.tar"
    made = client.create_container(BUSYBOX_IMAGE, ["true"])
    saved.write_bytes(b"".join(client.export(made)))
    client.remove_container(made)
    client.import_image(str(saved), repository="p2pool-test/checked", tag="1", changes=[check])
    client.close()
    wanted = plan("touch /well; sleep 5; rm /well; " + FOREVER, image="p2pool-test/checked:1")
    seen = []
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in docker_runtime.watch():
                    (status,) = await docker_runtime.list()
                    seen.append(status.health.name)
                    if status.health.name == "UNHEALTHY":
                        nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await trio.sleep(0.3)
            status = await docker_runtime.start(wanted)
            assert status.health.name == "STARTING"
    assert list(dict.fromkeys(seen)) == ["STARTING", "HEALTHY", "UNHEALTHY"]
    (status,) = await docker_runtime.list()
    assert status.state is ContainerState.RUNNING
