"""Membership against Serf's: ten agents each, on this machine, in the same run.

A newcomer is known to all: from when its process says that it has started (and for Serf is told to
join) until the last of the others has heard it. A dead one is known to all: from SIGKILL until the
last of the others says so, in Serf by its own suspicion, in p2pool by the log that all hold. Under
load nobody dies, so nobody may be called dead. What it takes to start a process is not counted: it
is said beside.
"""

import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio

from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_in
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from tests.bench import measurements
from tests.bench.peers import serf
from tests.bench.rows import Row
from tests.bench.waiting import loaded, wait_until

SUITE = "serf"
AGENTS, ROUNDS = 10, 5
LOADED_S = 30.0
SETTLE_S = 15.0
IDLE_S = 20.0
MIB = 1024 * 1024
WITHIN_S = 60.0
SEEN_POLL_S = 0.1

Say = Callable[[str], None]


@attrs.define
class Figures:
    """Seconds of each round, and how many were called dead that were not."""

    known: list[float] = attrs.field(factory=list)
    started: list[float] = attrs.field(factory=list)
    failed: list[float] = attrs.field(factory=list)
    false: int = 0
    idle: tuple[float, float] = (0.0, 0.0)


# --- Serf ---------------------------------------------------------------------------------------


def of_serf(directory: Path, say: Say) -> Figures:
    """Its figures."""
    out = Figures()
    with serf.running(directory, AGENTS) as agents:
        pids = [agent.process.pid for agent in agents if agent.process is not None]
        out.idle = measurements.idle(pids, IDLE_S)
        for number in range(ROUNDS):
            victim = agents[1 + number % (AGENTS - 1)]
            others = [agent for agent in agents if agent is not victim]
            began = time.perf_counter()
            victim.kill()
            at = wait_until(partial(_heard, others, "Failed", victim, began), WITHIN_S)
            out.failed.append(at - began)
            say(f"serf: killed, known to all after {out.failed[-1]:.2f} s")
            began = time.perf_counter()
            victim.start()
            ready = wait_until(partial(_heard, [victim], "Started", victim, began), WITHIN_S)
            out.started.append(ready - began)
            time.sleep(0.3)
            joins = time.perf_counter()
            victim.join(agents[0])
            # One that is looked for at that moment may be found before it joins.
            at = wait_until(partial(_heard, others, "Join", victim, began), WITHIN_S)
            out.known.append(max(0.0, at - joins))
            time.sleep(2)
        before = sum(agent.failures for agent in agents)
        with loaded():
            time.sleep(LOADED_S)
        time.sleep(SETTLE_S)
        out.false = sum(agent.failures for agent in agents) - before
    return out


def _heard(agents: list[serf.Agent], event: str, of: serf.Agent, since: float) -> float | None:
    return serf.heard_by_all(agents, event, of.name, since)


# --- p2pool -------------------------------------------------------------------------------------


class Listener:
    """What one agent's event stream said of nodes: (node id, word) -> when; verdicts in log time,
    by their ids."""

    def __init__(self, agent: DevAgent) -> None:
        """Listens from now on, in a thread of its own, until the agent ends."""
        self.heard: dict[tuple[str, str], float] = {}
        self.verdicts: dict[str, int] = {}
        found = agent_in(agent.directory)
        self._client = AgentClient(found.url, found.token, timeout_s=120)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for event in self._client.events():
                if event["kind"] == "node":
                    words = str(event["text"]).partition(":")[0].removeprefix("is ").split(", ")
                    for word in words:
                        self.heard["0x" + event["subject"], word] = time.perf_counter()
                    if "unreachable" in words:
                        self.verdicts[str(event["id"])] = int(event["at_ms"])
        except P2poolError:
            return  # The agent is gone.


async def of_p2pool(directory: Path, say: Say) -> Figures:
    """Its figures."""
    out = Figures()
    pool = DevPool(directory, say)
    try:
        await pool.up(AGENTS)
        await pool.wait_heartbeats()
        await pool.wait_committee(3)
        await trio.sleep(limits.JUDGEMENT_GRACE_MS / 1000)
        pids = measurements.agent_pids(pool)
        out.idle = await trio.to_thread.run_sync(measurements.idle, pids, IDLE_S)
        listeners = {agent.name: Listener(agent) for agent in pool.agents}
        for number in range(ROUNDS):
            await _round(pool, listeners, number, out)
            say(
                f"p2pool: killed, known to all after {out.failed[-1]:.2f} s, "
                f"back, known to all after {out.known[-1]:.2f} s"
            )
        since_ms = int(time.time() * 1000)
        say(f"p2pool: {LOADED_S:g} s of load")
        with loaded():
            await trio.sleep(LOADED_S)
        await trio.sleep(SETTLE_S)
        # One verdict is told by every agent, and again by one that catches up.
        told = {name: at for one in listeners.values() for name, at in one.verdicts.items()}
        out.false = sum(at_ms >= since_ms for at_ms in told.values())
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()
    return out


async def _round(pool: DevPool, listeners: dict[str, Listener], number: int, out: Figures) -> None:
    """One that does not lead is killed, and comes back."""
    led = await pool.wait_elected(pool.agents)
    rest = [agent for agent in pool.agents if agent.node_id != led["node_id"]]
    victim = rest[number % len(rest)]
    others = [agent for agent in pool.agents if agent is not victim]
    assert victim.child is not None
    began = time.perf_counter()
    victim.child.signal(9)

    def known(word: str) -> float | None:
        times = [listeners[a.name].heard.get((victim.node_id, word), 0.0) for a in others]
        return max(times) if min(times) > began else None

    at = await trio.to_thread.run_sync(wait_until, lambda: known("unreachable"), WITHIN_S)
    out.failed.append(at - began)
    await victim.child.wait_gone()
    again, since_ms = time.perf_counter(), int(time.time() * 1000)
    await pool.start_agent(victim)
    started = time.perf_counter()
    out.started.append(started - again)
    async with trio.open_nursery() as nursery:
        for agent in others:
            nursery.start_soon(_wait_heard, agent, victim.node_id, since_ms)
    out.known.append(time.perf_counter() - started)
    await trio.to_thread.run_sync(wait_until, lambda: known("healthy"), WITHIN_S)
    listeners[victim.name] = Listener(victim)


async def _wait_heard(agent: DevAgent, node_id: str, since_ms: int) -> None:
    """Until an agent has heard a heartbeat of a node that started since."""
    while True:
        node = (await agent.get(f"/v1/nodes/{node_id}"))["node"]
        if (node["last_heard_ms"] or 0) >= since_ms:
            return
        await trio.sleep(SEEN_POLL_S)


# --- the table ----------------------------------------------------------------------------------


async def measure(directory: Path, say: Say) -> list[Row]:
    """All rows."""
    theirs = await trio.to_thread.run_sync(of_serf, directory / "serf", say)
    ours = await of_p2pool(directory / "pool", say)
    median = statistics.median
    return [
        Row(
            SUITE,
            f"newcomer known to all {AGENTS}, median",
            median(ours.known),
            "s",
            f"serf {median(theirs.known):.2f} s",
            median(theirs.known),
        ),
        Row(
            SUITE,
            "start of its process, before that",
            median(ours.started),
            "s",
            f"serf {median(theirs.started):.2f} s",
        ),
        Row(
            SUITE,
            f"SIGKILL known to all {AGENTS}, median",
            median(ours.failed),
            "s",
            f"serf {median(theirs.failed):.2f} s",
            median(theirs.failed) / 2,
        ),
        Row(
            SUITE,
            f"SIGKILL known to all, worst of {ROUNDS}",
            max(ours.failed),
            "s",
            f"serf {max(theirs.failed):.2f} s",
            max(theirs.failed) / 2,
        ),
        Row(
            SUITE,
            f"called dead though alive, {LOADED_S:g} s of load",
            ours.false,
            "verdicts",
            f"serf {theirs.false}",
            0,
        ),
        Row(
            SUITE,
            f"idle agent of {AGENTS}, CPU",
            ours.idle[0],
            "% of a core",
            f"serf {theirs.idle[0]:.1f} %",
        ),
        Row(
            SUITE,
            f"idle agent of {AGENTS}, resident memory",
            ours.idle[1] / MIB,
            "MiB",
            f"serf {theirs.idle[1] / MIB:.0f} MiB",
        ),
    ]
