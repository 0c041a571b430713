"""The whole life of a piece of work: asked for, left behind, submitted once, and taken back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio

from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.agent.work.journal import Piece, PieceJournal, PieceState
from p2pool.agent.work.pieces import Source
from p2pool.agent.work.reporter import WorkReporter
from p2pool.agent.work.submission import Submitter
from p2pool.cli.agent.waiting_work import waiting_work
from p2pool.codec.digests import digest
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.chain.validator.work import PieceState as ChainState
from p2pool.drivers.chain.validator.work import work_of
from p2pool.drivers.config.schema import AgentConfig, WorkConfig, load_config
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.features import newest
from p2pool.model.ids import NodeId
from p2pool.model.ports.runtime import ContainerPlan, ContainerStatus
from tests.cli.provider.desk import Desk
from tests.containers.harness.plans import SCOPE, plan, run_to_end
from tests.contracts.foreign.conftest import ForeignWorld

pytestmark = pytest.mark.chain

WORK = {"file": "/work.json"}
SUBMITS = WorkConfig(submit=True)
CONTENT = b'{"units": 12}'


@attrs.define
class Machine:
    """A member's machine on the test's chain, of which the agent may end and begin again."""

    world: ForeignWorld
    directory: Path
    provider: KeyWriter
    node_id: NodeId
    runtime: ProcessRuntime
    wanted: ContainerPlan
    desk: Desk

    @classmethod
    async def of(cls, world: ForeignWorld, directory: Path) -> "Machine":
        """A member with a copy that has left its file."""
        provider, node_id = await world.member()
        text = spec_json({"name": "work", "image": "none", "work": WORK})
        wanted = plan(f"printf '%s' '{CONTENT.decode()}' > work.json")
        asked = attrs.evolve(wanted.spec, work=parse_spec(text, newest()).work)
        runtime = ProcessRuntime(SCOPE, directory)
        wanted = attrs.evolve(wanted, spec=asked)
        (directory / "desk").mkdir()
        desk = Desk.of(world, directory / "desk")
        return cls(world, directory, provider, node_id, runtime, wanted, desk)

    async def run(self) -> ContainerStatus:
        """Its copy, to the end."""
        return await run_to_end(self.runtime, self.wanted)

    @property
    def settings(self) -> AgentConfig:
        """The configuration of an owner who lets the agent submit work."""
        return attrs.evolve(load_config(self.desk.directory / "p2pool.toml", {}), work=SUBMITS)

    @property
    def key(self) -> Any:
        """The provider's."""
        return self.provider._account

    @property
    def node(self) -> Any:
        """The node's, of which only the address matters here."""
        return SimpleNamespace(address=address_text(self.node_id))

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[WorkReporter]:
        """What of an agent submits work, until the block ends: as if it had been killed."""
        key = (self.wanted.allocation, self.wanted.attempt)
        items = {key: SimpleNamespace(spec=self.wanted.spec)}
        parts = SimpleNamespace(worker=SimpleNamespace(items=items))
        loop = cast(Loop, SimpleNamespace(node=SimpleNamespace(parts=parts)))
        options = AgentOptions(self.directory, self.settings, self.node, self.key)
        journal = PieceJournal.of(self.directory, self.node_id)
        made = WorkReporter(options, loop, self.runtime, journal)
        rpc = self.world.chain.rpc
        kept = FileJournal.of(self.directory, rpc.chain_id, self.provider.address)
        writer = KeyWriter(rpc, self.key, journal=kept)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run, self.world.chain, writer)
            yield made
            nursery.cancel_scope.cancel()

    async def nonce(self) -> int:
        """What its provider has sent."""
        who = address_text(self.provider.address)
        return await self.world.chain.rpc.quantity("eth_getTransactionCount", who, "latest")

    async def chain_has(self) -> dict[bytes, ChainState]:
        """The pool's pieces."""
        reader = await Reader.at_head(self.world.chain)
        found = await work_of(reader, self.world.pool_id, self.world.network.domain_id)
        return {key: one.state for key, one in found.past.need("work").pieces.items()}


async def until(done: Any) -> None:
    """Wait for something that another process or task does."""
    with trio.fail_after(600):
        while not done():  # noqa: ASYNC110
            await trio.sleep(0.05)


async def test_work_is_submitted_once_and_taken_back(world: ForeignWorld, tmp_path: Path) -> None:
    """The agent ends between its transaction and the block; the next one goes on with it."""
    machine = await Machine.of(world, tmp_path)
    rpc, key, before = world.chain.rpc, digest(CONTENT), await machine.nonce()
    ended = await machine.run()
    await rpc.request("evm_setIntervalMining", 0)
    await rpc.request("evm_setAutomine", False)
    try:
        async with machine.agent() as agent:
            await agent.take_end(ended)
            await until(lambda: list((tmp_path / "transactions").glob("*.json")))
            assert (agent.status.waiting, agent.status.submitted) == (1, 0)
    finally:
        await rpc.request("evm_setIntervalMining", 1)
        await rpc.request("evm_setAutomine", True)
    await rpc.request("anvil_mine", "0x1")
    for _ in range(2):
        async with machine.agent() as agent:
            await agent.take_end(ended)
            await until(lambda: agent.status.submitted)
    assert await machine.nonce() == before + 1
    assert await machine.chain_has() == {key: ChainState.SUBMITTED}
    assert agent.status.judged in (True, None)
    assert (agent.status.units, agent.status.problem) == (12, "")

    judge = machine.desk.key_of(world.network.validator, "judge.json")
    take = ("validator", "invalidate-work", "0x" + key.hex())
    await machine.desk.agrees(judge, *take, sends=1)
    async with machine.agent() as agent:
        await until(agent._ready.is_set)
        await agent.review(Submitter(world.chain, world.pool_id, machine.node_id))
    told = agent.status
    assert (told.submitted, told.invalidated, told.units) == (0, 1, 0)
    assert "a validator took it back" in told.pieces[0].why


async def test_a_dry_run_tells_what_would_be_sent(world: ForeignWorld, tmp_path: Path) -> None:
    """The same call, and the chain stays as it is; once it stands there nothing would be."""
    machine = await Machine.of(world, tmp_path)
    ended, before = await machine.run(), await machine.nonce()
    journal = PieceJournal.of(tmp_path, machine.node_id)
    source = Source(ended.allocation, ended.attempt, ended.finished_at_ms)
    piece = Piece(source=source, key=digest(CONTENT), units=12, state=PieceState.WAITING, at_ms=1)
    await journal.keep(piece)
    asked = (machine.settings, tmp_path, machine.node, machine.key)
    told = await waiting_work(*asked)
    assert (told.submits, told.waiting, len(told.would_send)) == (True, 1, 1)
    assert told.would_send[0].startswith("Submit 12 units of work")
    assert await machine.nonce() == before
    own = machine.desk.key_of(machine.provider, "own.json")
    words = ("provider", "submit-work", address_text(machine.node_id), "0x" + piece.key.hex(), "12")
    await machine.desk.agrees(own, *words, sends=1)
    told = await waiting_work(*asked)
    assert told.would_send == ()
    assert "it stands on the chain since block" in told.notes[0]
