"""What tasks say of themselves is seen from any agent, and by Prometheus on their node."""

from pathlib import Path

import docker
import httpx2
import pytest
import trio

from p2pool.client.discovery import agent_in
from p2pool.dev.engine.engine import Engine
from tests.containers.harness.metrics_image import make_say_image
from tests.e2e.harness.actions import Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

SAY = 'say "{\\"loss\\": 0.$P2POOL_REPLICA}"; while true; do sleep 1; done'


async def test_a_tasks_metrics_come_from_wherever_its_copies_run(
    pool_directory: Path, engine: Engine
) -> None:
    """Each copy's own value, by the command line at an agent that runs one of three."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    image = make_say_image(client)
    client.close()
    acting = Acting.on(pool_directory)
    at = acting.agents[0]
    made = acting.run(
        at,
        "task",
        "run",
        "--name",
        "says",
        "--image",
        image,
        "--replicas",
        "3",
        "--cpus",
        "0.1",
        "--memory",
        "64MiB",
        "--",
        "sh",
        "-c",
        SAY,
    )
    task = str(made["task_id"])
    copies = await acting.wait_states(at, task, "running", "running", "running")

    async def said() -> bool:
        found = acting.run(at, "task", "metrics", task)
        values = [m["value"] for copy in found for m in copy["metrics"]]
        return sorted(values) == [0.0, 0.1, 0.2]

    await acting.pool.wait("metrics of all copies", said)
    other = next(a for a in acting.agents if a.node_id == copies[1]["node_id"])
    reached = agent_in(other.directory)

    def scrape() -> str:
        headers = {"Authorization": f"Bearer {reached.token}"}
        return httpx2.get(f"{reached.url}/metrics", headers=headers).text

    text = await trio.to_thread.run_sync(scrape)
    assert f'p2pool_task_metric{{allocation="{copies[1]["id"]}",name="loss"}}' in text
    assert 'p2pool_container_seconds_count{call="start"}' in text
    assert 'p2pool_containers{state="running"} ' in text
    await acting.stop_task(at, task)
