"""Tasks that observe the world for the core: the chain, the machine, the network's addresses."""

from pathlib import Path

import attrs
import trio

from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.core.inputs import AddressesObserved, ChainUnreachable, HardwareObserved
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.rpc import OtherChain, Rpc
from p2pool.drivers.config.schema import AgentConfig
from p2pool.drivers.containers.docker.runtime import NOT_ISOLATED
from p2pool.drivers.hardware.gpu_loss import LostGpus
from p2pool.drivers.hardware.host import disk_trouble, read_load
from p2pool.drivers.hardware.nvml import NvmlAnswer
from p2pool.drivers.hardware.probe import probe_hardware
from p2pool.drivers.hardware.xid import XidWatch
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.peers.addresses import parse_full_address
from p2pool.drivers.store.owner import first_block_of, first_block_row
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    DataDirInUse,
    Misconfigured,
    StoreFailed,
    WrongChain,
)
from p2pool.model.ports.runtime import RuntimeKind

log = get_logger(__name__)


async def follow_chain(follower: RosterFollower, loop: Loop, network: Network) -> None:
    """Tell the core what the chain says, and the network which bootstrap addresses it lists."""
    known: tuple[str, ...] = ()
    warned: str | None = None
    async for observed in follower.observations():
        if isinstance(observed, ChainUnreachable):
            log.warning("the chain cannot be read", reason=observed.reason)
            await loop.put(observed)
            continue
        if observed.warning and not warned:
            log.warning("the chain's endpoints", warning=observed.warning)
        warned = observed.warning
        if observed.final.bootstrap != known:
            known = observed.final.bootstrap
            _learn_bootstrap(known, network)
        await loop.put(observed)


async def check_first_block(options: AgentOptions, store: Store) -> None:
    """`DataDirInUse` if every endpoint is on another chain than the directory's. A chain that does
    not answer soon keeps nobody from starting: its endpoints are checked when they do."""
    chain = options.config.chain
    rpc = Rpc.to(chain.id, chain.endpoints)
    rpc.first_block = first_block_of(store.restored)
    if rpc.first_block is None:
        return
    try:
        with trio.move_on_after(limits.CHAIN_COMPARE_TIMEOUT_MS / 1000):
            await rpc.request("eth_blockNumber")
    except OtherChain as other:
        raise DataDirInUse(
            f"The data directory {options.directory} belongs to another chain. {other.message}",
            hint=other.hint,
        ) from other
    except (ChainUnavailable, WrongChain):
        return  # The roster's follower says so, and waits.


async def learn_first_block(rpc: Rpc, store: Store) -> None:
    """Write down with which block the chain began, as soon as its endpoints agree on it."""
    while rpc.first_block is None:
        found = await rpc.agreed_first_block()
        if found is None:
            await trio.sleep(limits.CHAIN_COMPARE_PAUSE_MS / 1000)
            continue
        try:
            await store.write((first_block_row(found),))
        except StoreFailed:
            return  # The loop's next write fails too, and begins the agent anew.
        rpc.first_block = found


def _learn_bootstrap(addresses: tuple[str, ...], network: Network) -> None:
    for text in addresses:
        try:
            peer = parse_full_address(text)
        except Misconfigured as error:
            log.warning("the chain lists a bad bootstrap address", reason=str(error))
        else:
            network.learn(peer.peer_key, peer.addresses)


async def sample_machine(config: AgentConfig, directory: Path, kind: str, loop: Loop) -> None:
    """Tell the core what the machine offers, what is wrong with it, and how busy it is.

    A machine with GPUs asks them each time: a card that falls off the bus is reported at once.
    """
    async with trio.open_nursery() as nursery:
        xids = XidWatch()
        if config.resources.gpus != 0:
            nursery.start_soon(xids.run)
        said: tuple[str, ...] = ()
        cards = LostGpus()
        lost: tuple[str, ...] = ()

        def answered(nvml: NvmlAnswer) -> None:
            nonlocal lost
            lost = cards.read(nvml.gpus, nvml.reason is None)

        rounds = 0
        while True:
            if rounds == 0:
                hardware, load, warnings = await probe_hardware(
                    config.resources, directory, kind, xids=xids.seen, answered=answered
                )
                if kind == RuntimeKind.DOCKER and not config.network.isolation:
                    warnings = (f"{NOT_ISOLATED.reason}.", *warnings)  # Heartbeats cut the end.
                if warnings != said:
                    said = warnings
                    for warning in warnings:
                        log.warning("hardware", warning=warning)
                # Often where there are GPUs or were some, so that a lost card is soon noticed.
                rounds = 1 if cards.any else limits.HARDWARE_PROBE_EVERY
            else:
                load = attrs.evolve(read_load(), gpus=load.gpus)
            rounds -= 1
            trouble = disk_trouble(directory, config.resources.disk_reserve_bytes)
            await loop.put(
                HardwareObserved(
                    hardware=hardware, load=load, trouble=trouble, notes=said, lost_gpus=lost
                )
            )
            await trio.sleep(config.metrics.sample_interval_ms / 1000)


async def tell_addresses(network: Network, loop: Loop) -> None:
    """Tell the core where others can dial us, whenever that changes."""
    said: tuple[str, ...] = ()
    while True:
        found = network.addresses()
        if found != said:
            said = found
            await loop.put(AddressesObserved(found[: limits.ADDRESSES_MAX]))
        await trio.sleep(limits.EXCHANGE_INTERVAL_MS / 1000)
