"""The start options of an agent and of a bootstrap node."""

from pathlib import Path

import attrs

from p2pool.drivers.chain.stakes import StakePolicy
from p2pool.drivers.config.schema import AgentConfig, ChainConfig
from p2pool.model.ids import Digest, NodeId, PoolRef
from p2pool.wire.evm.key_signer import AnySigner


@attrs.frozen
class AgentOptions:
    """An agent's start options. `provider` None: this machine joins nothing by itself. `stake`:
    what the agent may stake for it. `trusted`: hashes of committees that the operator vouches
    for."""

    directory: Path
    config: AgentConfig
    node: AnySigner = attrs.field(repr=False)
    provider: AnySigner | None = attrs.field(default=None, repr=False)
    stake: StakePolicy = StakePolicy()
    stop_tasks: bool = False
    skip_checks: bool = False
    trusted: tuple[Digest, ...] = ()

    @property
    def node_id(self) -> NodeId:
        """The node's, as its key says."""
        return NodeId(bytes.fromhex(self.node.address[2:]))


@attrs.frozen
class BootstrapOptions:
    """A bootstrap node's start options. `chain`: where it reads who is a member; None: nowhere."""

    directory: Path
    pool: PoolRef
    listen: tuple[str, ...]
    bootstrap: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()
    chain: ChainConfig | None = None
