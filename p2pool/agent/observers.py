"""Tasks that look at the world for the core: the chain, the machine, the network's addresses."""

from pathlib import Path

import trio

from p2pool.agent.loop import Loop
from p2pool.core.inputs import AddressesObserved, ChainUnreachable, HardwareObserved
from p2pool.drivers.chain.roster import RosterFollower
from p2pool.drivers.config import AgentConfig
from p2pool.drivers.hardware.host import read_load
from p2pool.drivers.hardware.probe import probe_hardware
from p2pool.drivers.logs import get_logger
from p2pool.drivers.net.addresses import parse_full_address
from p2pool.drivers.net.network import Network
from p2pool.model import limits
from p2pool.model.errors import Misconfigured

log = get_logger(__name__)


async def follow_chain(follower: RosterFollower, loop: Loop, network: Network) -> None:
    """Tell the core what the chain says, and the network where it says one may begin."""
    known: tuple[str, ...] = ()
    warned = ""
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


def _learn_bootstrap(addresses: tuple[str, ...], network: Network) -> None:
    for text in addresses:
        try:
            peer = parse_full_address(text)
        except Misconfigured as error:
            log.warning("a bootstrap address on the chain is none", reason=str(error))
        else:
            network.learn(peer.peer_key, peer.addresses)


async def sample_machine(config: AgentConfig, directory: Path, kind: str, loop: Loop) -> None:
    """Tell the core what the machine offers, and how busy it is."""
    said: tuple[str, ...] = ()
    while True:
        hardware, load, warnings = await probe_hardware(config.resources, directory, kind)
        if warnings != said:
            said = warnings
            for warning in warnings:
                log.warning("hardware", warning=warning)
        await loop.put(HardwareObserved(hardware, load))
        for _ in range(limits.HARDWARE_PROBE_EVERY):
            await trio.sleep(config.metrics.sample_interval_ms / 1000)
            await loop.put(HardwareObserved(hardware, read_load()))


async def tell_addresses(config: AgentConfig, network: Network, loop: Loop) -> None:
    """Tell the core where others can dial us, as often as that changes."""
    said: tuple[str, ...] = ()
    while True:
        found = config.network.announce or network.addresses()
        if found != said:
            said = found
            await loop.put(AddressesObserved(found[: limits.ADDRESSES_MAX]))
        await trio.sleep(limits.EXCHANGE_INTERVAL_MS / 1000)
