"""Kills: a reader of events loses none and gets none twice, and what was signed runs once.

`make kills` kills fifty times; a run of all tests does it eight times.
"""

import os
import secrets
from typing import Any

import attrs
import pytest
import trio

from p2pool.client import AsyncClient, Client, KeySigner
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_in
from p2pool.client.library.answers import Event
from p2pool.client.library.event_flow import place_of
from tests.e2e.harness.actions import Acting
from tests.e2e.harness.killer import Killer
from tests.e2e.platforms.conftest import small

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

KILLS = int(os.environ.get("P2POOL_KILLS", "8"))
SUBMISSIONS = KILLS // 2
PATIENCE_S = 90.0


@attrs.define
class Reader:
    """Whoever reads on, and what it has so far."""

    wanted: set[str] = attrs.field(factory=set)
    found: list[Event] = attrs.field(factory=list)
    ended: set[str] = attrs.field(factory=set)

    def take(self, event: Event) -> bool:
        """Note an event; whether all tasks that are waited for have ended."""
        self.found.append(event)
        details = event.details
        if event.kind == "allocation" and details["state"] in ("succeeded", "failed"):
            self.ended.add(str(details["task_id"]))
        return len(self.wanted) == SUBMISSIONS and self.wanted <= self.ended

    @property
    def ids(self) -> list[tuple[int, ...]]:
        return [place_of(one.id) for one in self.found]


async def on_trio(client: AsyncClient, after: str, reader: Reader) -> None:
    """Read with the client on trio until all has ended."""
    async with client.events(after, patience_s=PATIENCE_S) as events:
        async for event in events:
            if reader.take(event):
                return


def blocking(client: Client, after: str, reader: Reader) -> None:
    """The same with the one that blocks; what it waits for may come from another thread."""
    with client.events(after, patience_s=PATIENCE_S) as events:
        for event in events:
            if reader.take(event):
                return


async def submits(
    client: AsyncClient, wanted: list[set[str]], kills: trio.MemoryReceiveChannel[int]
) -> None:
    """Run known tasks, one after every other kill."""
    async for number in kills:
        if number % 2:
            continue
        task = await client.prepare(small(f"kills-{number}-{secrets.token_hex(2)}", "true"))
        for each in wanted:
            each.add(task.task_id)  # Before it can end.
        assert (await client.send(task)).task_id == task.task_id


def told(directory: Any, after: str, until: str) -> list[tuple[Any, ...]]:
    """All that one agent has between two ids, by itself."""
    found: list[tuple[Any, ...]] = []
    for one in AgentClient.of(agent_in(directory)).events(after):
        if place_of(one["id"]) > place_of(until):
            break
        found.append((one["id"], one["kind"], one["subject"], one["text"], one["details"]))
        if one["id"] == until:
            break
    return found


async def test_kills_lose_none_and_double_none(acting: Acting, manager: KeySigner) -> None:
    """Two readers go on over kills of the agents that they read; both have what each agent
    has, in order. Each submission, made meanwhile, is one task with one copy that ran once."""
    agents = [agent.directory for agent in acting.agents]
    begin = await trio.to_thread.run_sync(AgentClient.of(agent_in(agents[0])).newest_event)
    first, second, killer = Reader(), Reader(), Killer(acting)
    reading = AsyncClient(agents)
    writing = AsyncClient(agents[::-1], signer=manager, patience_s=PATIENCE_S)
    with trio.fail_after(1800):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on_trio, reading, begin, first)
            other = Client(agents[1:] + agents[:1])
            nursery.start_soon(
                lambda: trio.to_thread.run_sync(
                    blocking, other, begin, second, abandon_on_cancel=True
                )
            )
            send, kills = trio.open_memory_channel[int](KILLS)
            nursery.start_soon(submits, writing, [first.wanted, second.wanted], kills)
            while killer.killed < KILLS:
                # The one that is read now: nobody else would notice.
                agent = next(a for a in acting.agents if str(a.directory) == reading.agent)
                await killer.once(agent)
                send.send_nowait(killer.killed)
            send.close()
    assert killer.killed >= KILLS

    tasks = first.wanted
    assert len(tasks) == SUBMISSIONS
    for reader in (first, second):
        assert not any(one.is_gap for one in reader.found)
        assert reader.ids == sorted(set(reader.ids))
        ends = [
            one.details["task_id"]
            for one in reader.found
            if one.kind == "allocation" and one.details["state"] == "succeeded"
        ]
        assert sorted(one for one in ends if one in tasks) == sorted(tasks)
    until = min(first.found[-1].id, second.found[-1].id, key=place_of)
    expected = [
        (one.id, one.kind, one.subject, one.text, one.details)
        for one in first.found
        if place_of(one.id) <= place_of(until)
    ]
    for directory in agents:
        have = await trio.to_thread.run_sync(told, directory, begin, until)
        assert have == expected
