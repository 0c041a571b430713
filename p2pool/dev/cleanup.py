"""Removes the containers of an agent that is gone: finds them by their labels and ends them."""

from pathlib import Path

from p2pool.drivers.config.schema import load_config
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.errors import P2poolError
from p2pool.model.ids import NodeId
from p2pool.model.ports.runtime import ContainerRuntime, RuntimeScope

GRACE_MS = 500


def runtime_of(config_path: Path, directory: Path, node_id: str) -> ContainerRuntime:
    """The runtime of an agent with this configuration and directory."""
    config = load_config(config_path, {})
    scope = RuntimeScope(config.pool_ref, NodeId(bytes.fromhex(node_id.removeprefix("0x"))))
    containers = directory / "containers"
    if config.runtime.kind == "process":
        return ProcessRuntime(scope, containers)
    return DockerRuntime(scope, containers, base_url=config.runtime.docker_host)


async def remove_containers(config_path: Path, directory: Path, node_id: str) -> None:
    """End and remove everything that an agent left running; an engine that is gone has nothing."""
    if not config_path.exists():
        return
    runtime = runtime_of(config_path, directory, node_id)
    try:
        for status in await runtime.list():
            await runtime.stop(status.allocation, status.attempt, GRACE_MS)
            await runtime.remove(status.allocation, status.attempt)
        if isinstance(runtime, DockerRuntime):
            await runtime.helper.sweep(young=True)
    except P2poolError:
        return
