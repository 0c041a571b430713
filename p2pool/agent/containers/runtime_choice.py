"""Chooses an agent's runtime: a Docker Engine, or local processes on development chains.

`[runtime] kind` is `docker`, `process` or `auto`. `auto` takes the engine if one answers, else
processes on a development chain, else the engine after all; the agent then waits for it.
"""

from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import trio

from p2pool.agent.options import AgentOptions
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.config.schema import AgentConfig, NetworkConfig, RuntimeConfig
from p2pool.drivers.config.validators import HOST, PRIVATE
from p2pool.drivers.containers.docker.networks.egress_filter import PRIVATE as PRIVATE_NETWORKS
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.drivers.containers.settings import GpuPath, Settings
from p2pool.model import limits
from p2pool.model.chain.networks import DEVELOPMENT_CHAIN_ID
from p2pool.model.errors import Misconfigured, P2poolError
from p2pool.model.ids import NodeId
from p2pool.model.ports.prover import Provers
from p2pool.model.ports.runtime import ContainerRuntime, RuntimeScope

log = get_logger(__name__)


async def open_runtime(options: AgentOptions) -> ContainerRuntime:
    """The agent's runtime. Misconfigured: processes on a chain where others pay for work."""
    docker = docker_runtime(options.config, options.directory, options.node_id)
    if await runs_processes(options.config, docker):
        return ProcessRuntime(docker.scope, options.directory / "containers")
    if not options.config.network.isolation:
        log.warning("[network] isolation is off: tasks reach this machine and its network")
    await _sweep_helpers(docker)
    return docker


async def _sweep_helpers(docker: DockerRuntime) -> None:
    """Remove helpers and provers of an agent that was killed; an engine that is away is asked
    later."""
    with trio.move_on_after(limits.ENGINE_CALL_TIMEOUT_MS / 6000):
        try:
            await docker.helper.sweep(young=True)
            await docker.provers.sweep()
        except P2poolError as error:
            log.info("helper containers are not swept yet", reason=str(error))


def provers_of(runtime: ContainerRuntime) -> Provers | None:
    """What runs provers here; None where tasks are plain processes, which hide nothing of the
    machine from a program that others wrote."""
    return runtime.provers if isinstance(runtime, DockerRuntime) else None


def docker_runtime(config: AgentConfig, directory: Path, node_id: NodeId) -> DockerRuntime:
    """The engine as an agent with this configuration would use it; makes no call yet."""
    return DockerRuntime(
        RuntimeScope(config.pool_ref, node_id),
        directory / "containers",
        base_url=config.runtime.docker_host,
        settings=settings_of(config.runtime, config.network, directory),
    )


async def runs_processes(config: AgentConfig, docker: DockerRuntime) -> bool:
    """Whether tasks run as plain processes here, because no engine answers or the configuration
    says so. Misconfigured: it says so on a chain where others pay for work."""
    development = config.chain.id == DEVELOPMENT_CHAIN_ID
    if config.runtime.kind == "process":
        if not development:
            raise Misconfigured(
                "Tasks run as plain processes on development chains only.",
                hint='Set [runtime] kind = "docker".',
            )
        return True
    if config.runtime.kind == "auto" and development and not await _answers(docker):
        log.warning("no container engine answers: tasks run as plain processes")
        return True
    return False


def settings_of(config: RuntimeConfig, network: NetworkConfig, directory: Path) -> Settings:
    """The owner's decisions about containers, for the runtime."""
    opened = [one for one in network.egress_allow if one not in (HOST, PRIVATE)]
    opened += PRIVATE_NETWORKS if PRIVATE in network.egress_allow else ()
    return Settings(
        registries=config.registries,
        bind_directories=config.bind_directories,
        gpus=GpuPath(config.gpus),
        oci_runtime=config.oci_runtime,
        isolation=network.isolation,
        subnets=tuple(IPv4Network(one) for one in network.subnets),
        resolvers=tuple(ip_address(one) for one in network.resolvers),
        egress_opened=tuple(ip_network(one) for one in opened),
        egress_host=HOST in network.egress_allow,
        images_max_bytes=config.images_max_bytes or 0,
        disk_reserve_bytes=config.disk_reserve_bytes,
        agent_directory=directory,
    )


async def _answers(docker: DockerRuntime) -> bool:
    with trio.move_on_after(limits.ENGINE_CALL_TIMEOUT_MS / 2000):
        try:
            await docker.probe()
        except P2poolError as error:
            log.debug("no container engine", reason=str(error))
            return False
        return True
    return False
