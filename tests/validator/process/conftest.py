"""The chain of `tests/chain`, nodes on a real network, and a validator's process between them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.ids import NodeId, PoolRef
from p2pool.validator.challenge.figures import FigureTable
from p2pool.validator.policy.rules import BudgetRule, Conduct, Policy, SlashRule, ValidateRule
from p2pool.validator.process.options import ValidatorOptions
from p2pool.validator.process.validator import ValidatorProcess, run_validator
from p2pool.wire.evm.key_signer import signer_of
from tests.chain.conftest import World, anvil, deployment, world
from tests.chain.harness import acts
from tests.chain.transactions.configuration import config_of
from tests.validator.harness.hosts import LOOPBACK, NodeHost
from tests.validator.harness.nodes import FIGURES, SIZES, SimulatedNode
from tests.validator.harness.provers import PlainProver
from tests.validator.harness.talks import Double

__all__ = ["anvil", "deployment", "world"]

SLACK = attrs.evolve(SIZES, slack_ms=120_000)
"""A machine that does something else meanwhile is not late. `figures.json` says so too."""
SLACK_TABLE = FigureTable(1, (attrs.evolve(FIGURES, hashes_per_s_max=10),))
"""Memory costs as many hashes as a round's time allows: of a card that does few of them, much slack
costs the tests little."""
HANGS_S = 900
"""Who has not come by then does not come, on however busy a machine."""


def acting(**changes: Any) -> Policy:
    """One that acts after two passes, at once."""
    told: dict[str, Any] = {
        "policy": Conduct(dry_run=False),
        "validate": ValidateRule(passes=2, apart_s=0),
        "slash": SlashRule(validators=1, percent_per_day_max=100),
        "budget": BudgetRule(coin_per_day="1"),
    }
    return Policy(**{**told, **changes})


@attrs.define
class Stage:
    """A pool with nodes, and the directory of a validator."""

    world: World
    directory: Path

    @property
    def pool(self) -> PoolRef:
        """The pool on the chain."""
        chain = self.world.chain
        return PoolRef(chain.rpc.chain_id, chain.at.pool, self.world.pool_id)

    def options(self, *bootstrap: str, policy: Policy | None = None) -> ValidatorOptions:
        """Of the account that has the validators' role."""
        url = self.world.chain.rpc.endpoints[0].url
        return ValidatorOptions(
            directory=self.directory / "validator",
            transactions=self.directory,
            pool=self.pool,
            chain=config_of(self.world, url).chain,
            account=signer_of(self.world.deployment.federator._account),
            policy=policy or acting(),
            table=SLACK_TABLE,
            bootstrap=bootstrap,
            listen=LOOPBACK,
            sizes=SLACK,
            every_s=1,
        )

    async def node(
        self,
        number: int,
        provider: KeyWriter | None = None,
        *,
        member: bool = False,
        prover: PlainProver | None = None,
        fails: str = "",
    ) -> tuple[KeyWriter, NodeHost]:
        """A node that is registered, and in the pool if it is a member."""
        world, chain = self.world, self.world.chain
        simulated = SimulatedNode(number, prover=prover or PlainProver())
        if provider is None:
            provider, _ = await world.candidate()
        await acts.add_compute_node(chain, provider, simulated.account, 1)
        if member:
            federator = world.deployment.federator
            await chain.validate_node(federator, provider.address, simulated.node_id)
            soon = await world.soon()
            invite = world.manager.sign_invite(0, world.pool_id, simulated.node_id, soon)
            await acts.join_pool(chain, provider, world.pool_id, invite)
        await chain.rpc.request("anvil_mine", "0x3")
        return provider, NodeHost(Double(simulated, fails, real_time=True), self.pool)

    async def validated(self, node_id: NodeId) -> bool:
        """Whether the registry says so."""
        info = await self.world.chain.node(node_id)
        return info is not None and info.validated

    async def sent(self) -> int:
        """How many transactions the validator's account has sent."""
        who = "0x" + self.world.deployment.federator.address.hex()
        rpc = self.world.chain.rpc
        return await rpc.quantity("eth_getTransactionCount", who, "latest")


@asynccontextmanager
async def running(
    options: ValidatorOptions, *, dies: bool = False
) -> AsyncIterator[ValidatorProcess]:
    """A process within a block; it ends by its signal, or `dies` wherever it is."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        began: list[ValidatorProcess] = []
        up = trio.Event()

        def started(process: ValidatorProcess) -> None:
            began.append(process)
            up.set()

        nursery.start_soon(run_validator, options, stop, started)
        with trio.fail_after(HANGS_S):
            await up.wait()
        yield began[0]
        if dies:
            nursery.cancel_scope.cancel()
        stop.set()


Stages = Callable[[], Stage]


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Stage:
    """An empty one."""
    tmp_path.chmod(0o700)
    return Stage(world, tmp_path)
