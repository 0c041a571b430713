"""A chain of their own for these tests: it makes a block for a transaction, and when told to."""

from collections.abc import Iterator

import pytest
import trio

from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.dev.chain.contracts import Deployment, deploy


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A real chain, stopped by its process id."""
    running = trio.run(start_anvil, tmp_path_factory.mktemp("reads"))
    trio.run(running.rpc().request, "evm_setAutomine", True)
    yield running
    trio.run(running.stop)


@pytest.fixture(scope="session")
def deployment(anvil: Anvil) -> Deployment:
    """The contracts on it."""

    async def run() -> Deployment:
        return await deploy(anvil.rpc())

    return trio.run(run)
