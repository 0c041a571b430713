"""What users see of images, volumes and health, through a pool of real agents."""

import tarfile
from pathlib import Path

import docker
import pytest
import trio

from p2pool.client.agent_client import Answer
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from tests.cli.output.held import held
from tests.containers.harness.registry import running_registry
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.e2e.harness.throttle_proxy import slow_proxy

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

MIB = 1024 * 1024
CHECKED = "p2pool-test/checked:1"


async def test_a_pull_is_seen_from_every_peer_and_its_digest_is_kept(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """Bytes and percent while it is fetched, on agents that do not fetch it; then what it was."""
    acting = Acting.on(pool_directory)
    with running_registry(tmp_path / "registry", engine) as registry:
        digest = registry.push("large:1", mib=12)
        with slow_proxy(engine, registry.host, 2 * MIB) as slow:
            image = f"{slow}/large:1"
            first = acting.agents[0]
            made = p2pool(
                "task",
                "run",
                "--name",
                "large",
                "--image",
                image,
                "--cpus",
                "0.1",
                "--memory",
                "64MiB",
                "--wait",
                "--",
                "sh",
                "-c",
                ENDLESS,
                **acting.environment(first),
            )
            assert made.returncode == 0, made.stderr
            assert "% of 12" in made.stderr, made.stderr
            task = made.stdout.strip()
            copies = [
                (await acting.wait_states(agent, task, "running"))[0] for agent in acting.agents
            ]
            shown = p2pool("task", "show", task, **acting.environment(acting.agents[2]))
    assert {copy["image_digest"] for copy in copies} == {digest}
    assert {copy["pull_total_bytes"] for copy in copies} == {0}
    assert digest in shown.stdout
    await acting.stop_task(first, task)


async def test_another_peer_sees_how_far_it_is(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """By the heartbeat of the node that fetches it."""
    acting = Acting.on(pool_directory)
    with running_registry(tmp_path / "registry", engine) as registry:
        registry.push("seen:1", mib=12)
        with slow_proxy(engine, registry.host, MIB) as slow:
            first = acting.agents[0]
            made = acting.run(
                first,
                "task",
                "run",
                "--name",
                "seen",
                "--image",
                f"{slow}/seen:1",
                "--cpus",
                "0.1",
                "--memory",
                "64MiB",
                "--",
                "sh",
                "-c",
                ENDLESS,
            )
            task = made["task_id"]

            async def pulling() -> Answer | None:
                (copy,) = (await acting.task(first, task))["allocations"]
                return copy if copy["pull_total_bytes"] else None

            copy = await acting.pool.wait("a pull to be seen", pulling)
            other = next(a for a in acting.agents if a.node_id != copy["node_id"])

            async def there() -> bool:
                (copy,) = (await acting.task(other, task))["allocations"]
                done, total = copy["pulled_bytes"], copy["pull_total_bytes"]
                return bool(copy["state"] == "pulling" and 0 < done < total)

            await acting.pool.wait("progress at another peer", there)
            await acting.wait_states(other, task, "running")
    await acting.stop_task(first, task)


async def test_a_task_that_is_stopped_waits_for_no_pull(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """What would take minutes is cut off, and the node takes other work."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    with running_registry(tmp_path / "registry", engine) as registry:
        registry.push("slow:1", mib=12)
        with slow_proxy(engine, registry.host, MIB // 100) as slow:
            made = acting.run(
                first,
                "task",
                "run",
                "--name",
                "slow",
                "--image",
                f"{slow}/slow:1",
                "--cpus",
                "0.1",
                "--memory",
                "64MiB",
                "--",
                "sh",
                "-c",
                ENDLESS,
            )
            await acting.wait_states(first, made["task_id"], "pulling")
            await acting.stop_task(first, made["task_id"])
            (copy,) = await acting.wait_states(first, made["task_id"], "stopped")
    assert copy["reason"].startswith("stop by 0x")
    task = acting.submit(first, "next", ENDLESS)
    await acting.wait_states(first, task, "running")
    await acting.stop_task(first, task)


async def test_what_cannot_be_fetched_is_said_in_a_sentence(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """Where the user looks: an image that is not there fails its task, with what to do."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    with running_registry(tmp_path / "registry", engine) as registry:
        made = acting.run(
            first,
            "task",
            "run",
            "--image",
            f"{registry.host}/nothing:1",
            "--memory",
            "64MiB",
            "--cpus",
            "0.1",
        )
        (copy,) = await acting.wait_states(first, made["task_id"], "failed")
    assert "does not have the image" in copy["reason"]


async def test_a_volume_of_a_task_is_its_nodes_owners(pool_directory: Path, tmp_path: Path) -> None:
    """Listed, exported and removed on the agent that has it; others have none of it."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    script = "echo words > /data/file; " + ENDLESS
    task = acting.submit(first, "keeps", script, "--mount", "type=task,source=out,target=/data")
    (copy,) = await acting.wait_states(first, task, "running")
    here = next(a for a in acting.agents if a.node_id == copy["node_id"])
    volume = f"task/{task}.0/out"
    listed = {a.name: acting.run(a, "volume", "ls") for a in acting.agents}
    assert [one["id"] for one in listed[here.name]] == [volume]
    assert listed[here.name][0]["in_use"]
    assert sum(len(found) for found in listed.values()) == 1
    refused = p2pool("volume", "rm", volume, **acting.environment(here))
    assert refused.returncode != 0
    assert "stop" in refused.stderr.lower()
    await acting.stop_task(first, task)
    out = tmp_path / "out.tar"
    acting.run(here, "volume", "export", volume, "-o", str(out))
    with tarfile.open(out) as archive:
        file = archive.extractfile("file")
        assert file is not None
        assert file.read() == b"words\n"
    assert acting.run(here, "volume", "rm", volume) == {"deleted": [volume]}
    assert acting.run(here, "volume", "ls") == []


async def test_an_unhealthy_container_is_told_and_ended_where_asked(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """The image's own check, seen from every peer; with --restart-unhealthy it counts as a
    failure."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    made = client.create_container(BUSYBOX_IMAGE, ["true"])
    (tmp_path / "image.tar").write_bytes(b"".join(client.export(made)))
    client.remove_container(made)
    check = 'HEALTHCHECK --interval=1s --retries=1 CMD ["test", "-e", "/well"]'
    repository, _, tag = CHECKED.partition(":")
    client.import_image(
        str(tmp_path / "image.tar"), repository=repository, tag=tag, changes=[check]
    )
    client.close()
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    script = "touch /well; sleep 4; rm /well; " + ENDLESS
    told = acting.submit(first, "told", script, "--image", CHECKED)
    ended = acting.submit(first, "ended", script, "--image", CHECKED, "--restart-unhealthy")
    (copy,) = await acting.wait_states(acting.agents[1], ended, "failed")
    assert "health check failed" in copy["reason"]

    async def unhealthy() -> bool:
        found = [(await acting.task(a, told))["allocations"][0] for a in acting.agents]
        return all((c["state"], c["health"]) == ("running", "unhealthy") for c in found)

    await acting.pool.wait("unhealthy at every peer", unhealthy)
    shown = p2pool("task", "show", told, **acting.environment(first))
    assert "running (unhealthy)" in shown.stdout
    await acting.stop_task(first, told)


async def test_a_volume_over_its_quota_ends_its_task(pool_directory: Path) -> None:
    """Within a look or two, for good, and the reason is in the task."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    script = "dd if=/dev/zero of=/data/x bs=1M count=8; " + ENDLESS
    task = acting.submit(
        first,
        "greedy",
        script,
        "--restart",
        "always",
        "--mount",
        "type=task,source=out,target=/data,size=4MiB,keep=0",
    )
    (copy,) = await acting.wait_states(first, task, "failed")
    assert "volume out holds 8.0 MiB" in copy["reason"]
    here = next(a for a in acting.agents if a.node_id == copy["node_id"])
    with trio.move_on_after(180):

        async def gone() -> bool:
            found = p2pool("volume", "ls", "--json", **acting.environment(here))
            return bool(held(found.stdout) == [])

        await acting.pool.wait("the volume to go, as its task keeps nothing", gone)
        return
    raise AssertionError("the volume stayed")
