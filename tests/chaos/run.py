"""One run: load and faults at the same time, then healing, then the reckoning.

What a run leaves behind lies in one directory: `history.jsonl`, `schedule.json`, `report.json`,
`timeline.html`, and the pool's own with the logs of all processes.
"""

import functools
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.dev.pool import DevAgent
from tests.chaos.clients import Client, Load
from tests.chaos.faults.nemesis import Fault, Nemesis, schedule
from tests.chaos.history import checks
from tests.chaos.history.events import History, unanswered
from tests.chaos.history.timeline import write_timeline
from tests.chaos.observer import Watch, wait_agreed
from tests.chaos.pool import ChaosPool
from tests.chaos.user import User

CLIENTS = 4
AGREED_DEADLINE_S = 120.0
RUNNING_DEADLINE_S = 120.0


@attrs.define
class Report:
    """What came of a run."""

    seed: int
    seconds: float
    problems: list[str] = attrs.field(factory=list)
    figures: dict[str, Any] = attrs.field(factory=dict)

    def text(self, where: Path) -> str:
        """For people: what is wrong, how to look, how to run the same schedule again."""
        lines = [f"seed {self.seed}, {self.seconds:g} s: " + json.dumps(self.figures)]
        if self.problems:
            lines += ["what is wrong:", *(f"  {one}" for one in self.problems)]
            lines += [
                f"the picture:   {where / 'timeline.html'}",
                f"the history:   {where / 'history.jsonl'}",
                f"the logs:      {where / 'pool' / 'logs'}",
                f"the same schedule again:  make chaos CHAOS_SEED={self.seed}"
                f" CHAOS_SECONDS={self.seconds:g}",
            ]
        return "\n".join(lines)

    def section(self, commit: str) -> str:
        """For the page of runs, in Markdown."""
        lines = [
            "",
            f"## Seed {self.seed}, {self.seconds:g} s",
            "",
            f"On {datetime.now(UTC):%Y-%m-%d} at commit {commit}. "
            + ("What was wrong:" if self.problems else "**Everything held.**"),
            "",
            *(f"- {one}" for one in self.problems),
            *([""] if self.problems else []),
            "| figure | |",
            "| --- | --- |",
            *(f"| {name.replace('_', ' ')} | {figure} |" for name, figure in self.figures.items()),
        ]
        return "\n".join(lines) + "\n"


async def run_chaos(pool: ChaosPool, seed: int, seconds: float, where: Path) -> Report:
    """Carry a run out on a pool that is whole, and leave it whole."""
    faults = schedule(seed, seconds)
    (where / "schedule.json").write_text(json.dumps([attrs.asdict(f) for f in faults], indent=1))
    history = History.to(where / "history.jsonl")
    nemesis = Nemesis(pool, history)
    watch = Watch(pool, nemesis)
    load = Load(User.of(pool), pool.agents, history, pool.agents[-1].node_id)
    report = Report(seed, seconds)
    try:
        async with trio.open_nursery() as watching:
            watching.start_soon(watch.run)
            await _suffer(nemesis, load, faults, seed, seconds)
            await _recover(pool, load, report)
            watching.cancel_scope.cancel()
    finally:
        history.close()
    _reckon(pool, load, nemesis, watch, report)
    title = f"chaos: seed {seed}, {seconds:g} s"
    write_timeline(where / "timeline.html", history.events, title)
    (where / "report.json").write_text(json.dumps(attrs.asdict(report), indent=1))
    return report


async def _suffer(
    nemesis: Nemesis, load: Load, faults: list[Fault], seed: int, seconds: float
) -> None:
    until_s = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nemesis.run, faults)
        for number in range(1, CLIENTS + 1):
            client = Client(f"client-{number}", load, random.Random(f"{seed} {number}"))
            nursery.start_soon(client.run, until_s)


async def _recover(pool: ChaosPool, load: Load, report: Report) -> None:
    """Healing within a deadline; then what nobody knows is asked again, and everything is read."""
    try:
        begun_s = trio.current_time()
        await pool.wait_healed()
        report.figures["healed_s"] = round(trio.current_time() - begun_s, 1)
        await _settle(pool, load, report)
        for agent in pool.agents:
            await load.read_all(f"reader of {agent.name}", agent)
            await load.read_intent(f"reader of {agent.name}", agent)
        await _wait_running(pool, load)
        tasks = await wait_agreed(pool, AGREED_DEADLINE_S)
        report.problems += checks.miscounted(load.history.events, tasks)
        report.figures["tasks"] = len(tasks)
        report.problems += [
            f"{t['name']} {t['state']}: {t['allocations'][0]['reason']}"
            for t in tasks
            if t["state"] in ("failed", "succeeded")
        ]
    except TimeoutError as error:
        report.problems.append(str(error))


async def _settle(pool: ChaosPool, load: Load, report: Report) -> None:
    """Half of the requests of unknown outcome are sent once more; the others stay unknown."""
    unknown = unanswered(load.history.events)
    report.figures["unknown"] = len(unknown)
    for number, request in enumerate(unknown):
        if number % 2 == 0:
            await load.send("settler", request, pool.agents[number % len(pool.agents)])


async def _wait_running(pool: ChaosPool, load: Load) -> None:
    """Every task that nobody stopped runs in the end, once, as the runtimes themselves say."""
    missing: list[str] = []
    with trio.move_on_after(RUNNING_DEADLINE_S):
        while True:
            found = (await pool.tasks(pool.agents[0], consistent=True))["tasks"]
            wanted = sorted(f"{t['task_id']}.0" for t in found if not t["stop_requested"])
            running = sorted([n for a in pool.agents for n in await pool.containers(a)])
            missing = [f"wanted and not running: {n[:8]}" for n in wanted if n not in running]
            missing += [f"running and not wanted: {n[:8]}" for n in running if n not in wanted]
            if not missing and len(wanted) == len(running):
                return
            await trio.sleep(1)
    raise TimeoutError(f"after {RUNNING_DEADLINE_S:.0f} s not all runs as it is wanted: {missing}")


def _reckon(pool: ChaosPool, load: Load, nemesis: Nemesis, watch: Watch, report: Report) -> None:
    events = load.history.events
    report.problems += checks.not_linearizable(events)
    report.problems += watch.problems + load.unexpected + nemesis.failures
    logs = pool.directory / "logs"
    report.problems += checks.complaints(sorted(logs.glob("*.log")))
    ended = [e for e in events if e.process != "nemesis" and e.type != "invoke"]
    report.figures |= {
        "operations": len(ended),
        **{f"{t}": sum(e.type == t for e in ended) for t in ("ok", "fail", "info")},
        "faults": sum(e.type == "ok" and e.process == "nemesis" for e in events),
        "looks": watch.looks,
        "judged": len(watch.judged),
        "memory_max_mib": max(watch.memory_bytes.values(), default=0) // 2**20,
    }


async def stop_all(pool: ChaosPool, agent: DevAgent) -> None:
    """Ask for the end of every task, so that the next test finds an empty pool."""
    from p2pool.model.access.requests import Action

    user = User.of(pool)
    for task in (await pool.tasks(agent))["tasks"]:
        if not task["stop_requested"]:
            signed = user.signed(Action.STOP, task["task_id"])
            await trio.to_thread.run_sync(functools.partial(agent.client().send, signed))
