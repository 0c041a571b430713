"""All checks of a machine, the groups concurrently, each with a deadline of its own.

Groups share what they need: the pool's requirements come from the chain, the GPUs that a container
should see from the hardware. A group that cannot be checked is a failed check with the reason,
never an exception.
"""

from pathlib import Path

import attrs
import trio

from p2pool.drivers.checks import machine, network, onchain, software
from p2pool.drivers.config.schema import AgentConfig
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.hardware.host import read_host
from p2pool.drivers.hardware.nvml import NvmlAnswer, read_gpus
from p2pool.drivers.hardware.probe import offer
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.machine.hardware import Hardware
from p2pool.model.ports.runtime import RuntimeKind

ALL = (Group.HARDWARE, Group.SOFTWARE, Group.NETWORK, Group.CHAIN)


@attrs.frozen
class Subject:
    """The machine to check. `runtime` None: tasks run as processes, on a development chain.

    `node_id`, `provider`: None if they are not named.
    """

    config: AgentConfig
    directory: Path
    runtime: DockerRuntime | None
    node_id: NodeId | None = None
    provider: Address | None = None


async def run_checks(subject: Subject, groups: tuple[Group, ...] = ALL) -> list[Check]:
    """Run all checks; results in the order of the groups."""
    config, found = subject.config, dict[Group, list[Check]]()
    pool, wanted, trouble = await onchain.read_pool(config)
    try:
        host = await trio.to_thread.run_sync(read_host, subject.directory)
        facts = await trio.to_thread.run_sync(machine.read_facts, subject.directory)
    except P2poolError as error:
        return [Check(Group.HARDWARE, "disk", Verdict.FAIL, error.message, todo=error.hint)]
    nvml = NvmlAnswer() if config.resources.gpus == 0 else await read_gpus()
    kind = RuntimeKind.DOCKER if subject.runtime is not None else RuntimeKind.PROCESS
    hardware, warnings = offer(config.resources, host, nvml, kind.value)

    async def look(group: Group) -> None:
        match group:
            case Group.HARDWARE:
                reserve_bytes = config.resources.disk_reserve_bytes
                told = machine.machine_checks(hardware, facts, nvml, wanted, reserve_bytes)
                found[group] = told + _told(warnings, nvml)
            case Group.SOFTWARE:
                found[group] = await _software(subject, hardware)
            case Group.NETWORK:
                found[group] = await _network(config)
            case Group.CHAIN:
                told = await onchain.chain_checks(
                    config, pool, subject.node_id, subject.provider, len(hardware.gpus)
                )
                found[group] = told + trouble

    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(look, group)
    return [check for group in groups for check in found[group]]


def _told(warnings: tuple[str, ...], nvml: NvmlAnswer) -> list[Check]:
    """Problems with `[resources]`; the GPUs' own check reports what NVML said."""
    own = [
        text
        for text in warnings
        if text not in nvml.problems and (nvml.reason is None or nvml.reason not in text)
    ]
    todo = "Correct [resources] in the configuration."
    return [Check(Group.HARDWARE, "resources", Verdict.WARN, text, todo=todo) for text in own]


async def _software(subject: Subject, hardware: Hardware) -> list[Check]:
    if subject.runtime is None:
        todo = "Development chains only: install Docker for any other."
        found = "tasks run as plain processes"
        return [
            Check(Group.SOFTWARE, "docker", Verdict.WARN, found, needed="Docker Engine", todo=todo)
        ]
    gpus = tuple(gpu.uuid for gpu in hardware.gpus if gpu.healthy)
    image = subject.config.runtime.probe_image
    return await software.software_checks(subject.runtime, gpus, image)


async def _network(config: AgentConfig) -> list[Check]:
    from p2pool.drivers.net.peers.addresses import parse_full_address
    from p2pool.drivers.net.reachability.identify import observed_host

    checks = await trio.to_thread.run_sync(
        network.port_checks, config.network.listen, config.api.bind
    )
    try:
        peers = tuple(parse_full_address(text) for text in config.network.bootstrap)
    except P2poolError as error:
        checks.append(
            Check(Group.NETWORK, "bootstrap", Verdict.FAIL, error.message, todo=error.hint)
        )
        peers = ()
    seen, why = await observed_host(peers) if peers else ("", "")
    if peers and not seen:
        todo = "Name others in [network] bootstrap; a node that knows a member needs none."
        checks.append(
            Check(Group.NETWORK, "bootstrap", Verdict.WARN, why, needed="one answers", todo=todo)
        )
    checks.append(network.address_check(config.network.listen, config.network.announce, seen))
    checks.append(await network.clock_check(config.chain.endpoints))
    return checks
