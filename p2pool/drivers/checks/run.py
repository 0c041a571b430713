"""All checks of a machine, the groups concurrently, each with a deadline of its own.

Groups share what they need: the pool's requirements come from the chain, the GPUs that a container
should see from the hardware. A group that cannot be checked is a failed check with the reason,
never an exception.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from p2pool.codec.text.multiaddr import PEER
from p2pool.drivers.checks import machine, network, onchain, software
from p2pool.drivers.checks.webhooks import webhook_checks
from p2pool.drivers.config.schema import AgentConfig
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.hardware.host import read_host
from p2pool.drivers.hardware.nvml import NvmlAnswer, read_gpus
from p2pool.drivers.hardware.probe import offer
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.machine.hardware import Hardware
from p2pool.model.ports.runtime import RuntimeKind

if TYPE_CHECKING:
    from p2pool.drivers.net.events import KnownPeer
    from p2pool.drivers.net.reachability.identify import Reachability

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
                found[group] = told + _told(warnings, nvml) + _of(trouble, group)
            case Group.SOFTWARE:
                found[group] = await _software(subject, hardware)
            case Group.NETWORK:
                listed = pool.bootstrap if pool is not None else ()
                local = network.socket_check(subject.directory)
                told = await webhook_checks(config.notify)
                found[group] = [*await _network(config, listed), local, *told]
            case Group.CHAIN:
                told = await onchain.chain_checks(
                    config, pool, subject.node_id, subject.provider, len(hardware.gpus)
                )
                found[group] = told + _of(trouble, group)

    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(look, group)
    return [check for group in groups for check in found[group]]


def _of(checks: list[Check], group: Group) -> list[Check]:
    return [check for check in checks if check.group is group]


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


async def _network(config: AgentConfig, listed: tuple[str, ...]) -> list[Check]:
    """`listed`: the bootstrap addresses that the pool names on the chain."""
    from p2pool.drivers.net.peers.addresses import parse_full_address

    checks = await trio.to_thread.run_sync(
        network.port_checks, config.network.listen, config.api.bind, config.api.tls_bind
    )
    try:
        named = tuple(parse_full_address(text) for text in config.network.bootstrap)
        peers = (*named, *_those_that_can_be_dialled(listed))
    except P2poolError as error:
        checks.append(
            Check(Group.NETWORK, "bootstrap", Verdict.FAIL, error.message, todo=error.hint)
        )
        peers = ()
    found = await _reachability(config, peers)
    if peers and not found.seen:
        todo = "Name others in [network] bootstrap; a node that knows a member needs none."
        checks.append(
            Check(
                Group.NETWORK, "bootstrap", Verdict.WARN, found.why, needed="one answers", todo=todo
            )
        )
    announce = config.network.announce
    resolved = await _resolved(announce)
    checks.append(
        network.address_check(config.network.listen, announce, found.seen, found.dialled, resolved)
    )
    checks.append(await network.clock_check(config.chain.endpoints))
    return checks


def _those_that_can_be_dialled(listed: tuple[str, ...]) -> "tuple[KnownPeer, ...]":
    from p2pool.drivers.net.peers.addresses import parse_full_address

    found = []
    for text in listed:
        with suppress(Misconfigured):  # Whoever wrote it to the chain is told, not we.
            found.append(parse_full_address(text))
    return tuple(found)


async def _reachability(config: AgentConfig, peers: "tuple[KnownPeer, ...]") -> "Reachability":
    """What a peer says of us; it dials back only while the agent's addresses are free."""
    from p2pool.drivers.net.reachability.dial_back import listening
    from p2pool.drivers.net.reachability.identify import Reachability, observed_host

    if not peers:
        return Reachability()
    ports = network.ports_to_dial(config.network.listen, config.network.announce)
    try:
        async with listening(config.network.listen) as here:
            return await observed_host(peers, ports, here)
    except OSError:
        return await observed_host(peers)


async def _resolved(announce: tuple[str, ...]) -> frozenset[str]:
    """The hosts that announced addresses lead to, with names looked up."""
    from p2pool.drivers.net.peers.addresses import resolve

    found: set[str] = set()
    with trio.move_on_after(limits.DIAL_TIMEOUT_MS / 1000):
        for text in announce:
            with suppress(OSError):  # A name that nobody knows leads nowhere.
                found |= {str(a).split("/")[2] for a in await resolve(text.partition(PEER)[0])}
    return frozenset(found)
