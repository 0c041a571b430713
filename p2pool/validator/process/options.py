"""What a validator's process is started with."""

from pathlib import Path
from typing import Protocol

import attrs

from p2pool.drivers.config.schema import ChainConfig
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.model.ports.signer import Signer
from p2pool.validator.challenge.figures import FigureTable
from p2pool.validator.challenge.plan import Sizes
from p2pool.validator.policy.rules import Policy
from p2pool.validator.process.node_offer import TellsNodes
from p2pool.validator.process.others import TellsVerdicts

EVERY_S = 3600
AT_ONCE = 4


class TellsPool(TellsVerdicts, TellsNodes, Protocol):
    """An agent's API, as far as a validator asks it."""


@attrs.frozen(kw_only=True)
class ValidatorOptions:
    """`directory`: of its findings and its peer key; `transactions`: where the account keeps what
    it has on its way, the one of all commands. `images`: digests of the provers' images that are
    accepted; none: any. `every_s`: how often a node is challenged that is validated and passes."""

    directory: Path
    transactions: Path
    pool: PoolRef
    chain: ChainConfig
    account: Signer
    policy: Policy
    table: FigureTable
    bootstrap: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sizes: Sizes = Sizes()
    every_s: int = EVERY_S
    at_once: int = AT_ONCE
    metrics_bind: str = ""
    agent: TellsPool | None = None
    """An agent of the pool that tells what nodes offer, and what other validators found; None:
    nobody does."""

    @property
    def address(self) -> Address:
        """The validator's account."""
        return Address(bytes.fromhex(self.account.address[2:]))

    @property
    def node_id(self) -> NodeId:
        """The name under which it says hello."""
        return NodeId(bytes(self.address))
