"""Of two agents with one set of keys the earlier one leaves the network and ends."""

from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from p2pool.agent import agent as module
from p2pool.agent.agent import Agent, run_agent
from p2pool.agent.options import AgentOptions
from p2pool.cli.errors import SUPERSEDED, exit_code
from p2pool.dev.chain.contracts import new_account
from p2pool.model import limits
from p2pool.model.errors import Superseded
from p2pool.model.states import Standing
from tests.first_run.harness.configuration import config_of
from tests.net.harness.hosts import Node, introduce, running


async def test_a_superseded_agent_says_so_for_a_moment_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections keep its later self from all peers; what it runs is that one's now."""
    made: list[Agent] = []
    stopped: list[str] = []

    class Kept(Agent):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

        async def retire(self) -> None:
            stopped.append("retired")

    monkeypatch.setattr(module, "Agent", Kept)
    monkeypatch.setattr(limits, "SUPERSEDED_LINGER_MS", 300)
    options = AgentOptions(
        tmp_path / "data", config_of(), new_account(), skip_checks=True, stop_tasks=True
    )

    def started(url: str) -> None:
        made[0].node.context.bindings.superseded = "another agent runs with this one's keys"

    refused: list[BaseException] = []
    with trio.fail_after(60):
        try:
            await run_agent(options, trio.Event(), started)
        except* Superseded as group:
            refused.append(group)
    assert "another agent runs with this one's keys" in "".join(format_exception(refused[0]))
    assert made[0].network.connected() == ()
    assert made[0].network.addresses() == ()
    assert stopped == []


def test_its_exit_code_is_its_own() -> None:
    """Whoever starts agents again has to leave this one alone: else they would take turns."""
    assert exit_code(Superseded("x")) == SUPERSEDED == 7


async def _run_until(gone: trio.Event, *, task_status: "trio.TaskStatus[Node]") -> None:
    async with running(2) as earlier:
        task_status.started(earlier)
        await gone.wait()


async def test_the_later_agent_names_the_cause_while_the_earlier_one_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its peers answer on the other's connection; it hears them as soon as that one is gone."""
    monkeypatch.setattr("p2pool.drivers.net.network.HELLO_TIMEOUT_MS", 500)
    with trio.fail_after(60):
        async with running(1) as peer, trio.open_nursery() as nursery:
            gone = trio.Event()
            earlier = await nursery.start(_run_until, gone)
            introduce(earlier, peer)
            await peer.wait(lambda: peer.network.standing(earlier.key) is Standing.MEMBER)
            async with running(2) as later:
                with capture_logs() as logged:
                    introduce(later, peer)
                    await later.wait(lambda: later.network.counters["hello_timeouts"] > 2)
                assert sum("copy of this data directory" in str(one) for one in logged) == 1
                assert later.network.standing(peer.key) is None
                gone.set()
                await later.wait(lambda: later.network.standing(peer.key) is Standing.MEMBER)
