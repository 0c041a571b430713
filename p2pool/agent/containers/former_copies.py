"""Removes the ended containers of a node that this machine no longer is."""

from pathlib import Path

from p2pool.agent.containers.runtime_choice import docker_runtime, runs_processes
from p2pool.drivers.config.schema import AgentConfig
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.errors import Conflict
from p2pool.model.ids import NodeId
from p2pool.model.ports.runtime import ContainerRuntime
from p2pool.model.ports.runtime import ContainerState as State


async def remove_former_copies(config: AgentConfig, directory: Path, node_id: NodeId) -> int:
    """Remove them all, with their log lines; how many there were. Their volumes stay. `Conflict` if
    one runs still: nothing is removed then. Raises RuntimeUnavailable."""
    docker = docker_runtime(config, directory, node_id)
    runtime: ContainerRuntime = docker
    if await runs_processes(config, docker):
        runtime = ProcessRuntime(docker.scope, directory / "containers")
    found = await runtime.list()
    if running := sum(one.state is State.RUNNING for one in found):
        raise Conflict(
            f"{running} {'copy' if running == 1 else 'copies'} of the node's tasks still run here.",
            hint="Drain it first: start its agent, then p2pool node drain --wait NODE.",
        )
    for one in found:
        await runtime.remove(one.allocation, one.attempt)
    return len(found)
