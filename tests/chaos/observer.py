"""Looks at a pool while it suffers: what runs where, who is judged, what it costs.

Everything is looked at from outside: containers by their runtime, connections by the system. What
is found wrong is kept as sentences; the run goes on, so that one fault hides no other.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs
import psutil
import trio

from p2pool.dev.pool import DevAgent
from p2pool.model.errors import P2poolError
from tests.chaos.faults.nemesis import Nemesis
from tests.chaos.pool import ChaosPool

LOOK_S = 1.0
ASK_DEADLINE_S = 3.0
MEMORY_MAX_BYTES = 512 * 1024 * 1024
GONE = ("unreachable", "dead")

Running = Mapping[str, dict[str, tuple[int, int]]]


@attrs.define
class Watch:
    """What was seen. `problems` ought to be empty at the end."""

    pool: ChaosPool
    nemesis: Nemesis
    problems: list[str] = attrs.field(factory=list)
    memory_bytes: dict[str, int] = attrs.field(factory=dict)
    judged: list[str] = attrs.field(factory=list)
    looks: int = 0
    _said: set[str] = attrs.field(factory=set)

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            for agent in self.pool.agents:
                nursery.start_soon(self._watch_judgements, agent)
            while True:
                await self._look()
                await trio.sleep(LOOK_S)

    def _problem(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.problems.append(text)

    # --- copies -----------------------------------------------------------------------------------

    async def _look(self) -> None:
        self.looks += 1
        for name, to in self.pool.bypasses():
            self._problem(f"{name} is connected to {to} past the proxies")
        for name in self.pool.names:
            if name not in self.nemesis.busy and not self.pool.child(name).alive:
                self._problem(f"{name} ended by itself")
        self._weigh()
        twice = doubles(await self._running())
        # Two listings are not one moment: a copy may have ended on one node and begun on another.
        again = await self._running() if twice else {}
        for name, places in twice.items():
            still = [p for p in places if again[p[0]].get(name) == p[1]]
            if len(still) > 1:
                self._problem(f"{name} runs more than once at a time: {still}")

    async def _running(self) -> Running:
        found = {}
        for agent in self.pool.agents:
            found[agent.name] = await self.pool.containers(agent)
        return found

    def _weigh(self) -> None:
        for name in self.pool.names:
            try:
                resident = psutil.Process(self.pool.proxies.pids[name]).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.memory_bytes[name] = max(resident, self.memory_bytes.get(name, 0))
            if resident > MEMORY_MAX_BYTES:
                self._problem(f"{name} has grown to {resident // 2**20} MiB")

    # --- judgements -------------------------------------------------------------------------------

    async def _watch_judgements(self, agent: DevAgent) -> None:
        before: dict[str, str] = {}
        while True:
            await trio.sleep(LOOK_S)
            with trio.move_on_after(ASK_DEADLINE_S):
                try:
                    nodes = (await self.pool.ask(agent, "/v1/nodes"))["nodes"]
                except P2poolError:
                    continue
                now = {n["node_id"]: n["reachability"] for n in nodes}
                for node_id, state in now.items():
                    if state in GONE and before.get(node_id) not in GONE:
                        self._judge(agent.name, self.pool.named(node_id).name, state)
                before = now

    def _judge(self, by: str, name: str, state: str) -> None:
        excused = self.nemesis.excused(name, trio.current_time())
        self.judged.append(f"{name} is {state} as {by} sees it ({'excused' if excused else 'NOT'})")
        if state == "dead" or not excused:
            self._problem(f"{name} was judged {state}, and nothing was done to it")


def doubles(running: Running) -> dict[str, list[tuple[str, tuple[int, int]]]]:
    """Copies that run in more than one place."""
    places: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    for agent, copies in running.items():
        for name, run in copies.items():
            places.setdefault(name, []).append((agent, run))
    return {name: where for name, where in places.items() if len(where) > 1}


# --- agreement ------------------------------------------------------------------------------------


async def wait_agreed(pool: ChaosPool, deadline_s: float) -> list[Any]:
    """Wait until all agents hold one state: by its digest as each node tells it of its own log, and
    by what each one's API shows; the tasks. `TimeoutError` says in what they differ."""
    seen: list[tuple[int, str]] = []
    logs: set[tuple[str, int, str]] = set()
    with trio.move_on_after(deadline_s):
        while True:
            answers = []
            try:
                held = (await pool.ask(pool.agents[0], "/v1/logs-held"))["logs"]
                for agent in pool.agents:
                    tasks = await pool.tasks(agent)
                    nodes = await pool.ask(agent, "/v1/nodes")
                    answers.append((tasks, nodes))
            except P2poolError:
                await trio.sleep(0.5)
                continue
            seen = [(t["meta"]["commit_index"], digest(t["tasks"], n["nodes"])) for t, n in answers]
            logs = {(h["log_id"], h["commit_index"], h["state_digest"]) for h in held}
            if len(set(seen)) == len(logs) == 1 and len(held) == len(pool.agents):
                return list(answers[0][0]["tasks"])
            await trio.sleep(0.5)
    raise TimeoutError(f"after {deadline_s:.0f} s the agents do not agree: {seen}, {logs}")


def digest(tasks: list[Any], nodes: list[Any]) -> str:
    """A digest of what the log says: all of the tasks, and what was judged of the nodes."""
    judged = [(n["node_id"], n["reachability"], n["intent"]) for n in nodes]
    # When each agent heard a copy's node is its own.
    copies = [[{**c, "known": 0, "heard_ms": 0} for c in t["allocations"]] for t in tasks]
    said = [{**t, "allocations": c} for t, c in zip(tasks, copies, strict=True)]
    text = json.dumps([said, sorted(judged)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
