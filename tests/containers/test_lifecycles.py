"""Random lives of copies on a real engine end as a small model says, and leave nothing behind.

A seed makes a sequence: orders, stops, new attempts, kills and removals from outside, restarts of
the agent and of the engine, calls that fail for a while. P2POOL_LIFECYCLES=n tries the seeds 0 to
n-1, P2POOL_LIFECYCLE=seed one alone.

An engine is killed only while it starts nothing: 20.10 then forgets a task that its containerd
still runs, and answers "already exists" to every later start of that container. The generator is
our own and no state machine of hypothesis: that one runs its rules outside of any event loop, and
an agent lives in one.
"""

import os
import random
import subprocess
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import attrs
import docker
import pytest
import trio
from docker.errors import APIError

from p2pool.agent.clock import read_clock
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.container.labels import name_of
from p2pool.drivers.containers.docker.images.helper_image import LABEL as HELPER
from p2pool.model.messages.work import Desired
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import RestartMode, RestartPolicy
from tests.containers.harness.fault_proxy import Fault, FaultProxy, Kind
from tests.containers.harness.plans import SCOPE
from tests.containers.harness.worker_side import Disk, Side, running, short_limits, sweep, until
from tests.core.worker.workbench import desired

pytestmark = pytest.mark.docker
S = AllocationState

STEPS = 9
SCRIPTS = {
    "stays": "while :; do sleep 0.2; done",
    "sturdy": "while :; do sleep 0.2; done",  # Its policy starts it again, whatever happens.
    "succeeds": "sleep 0.3",
    "fails": "sleep 0.3; exit 3",
}
ENDS = {"succeeds": S.SUCCEEDED, "fails": S.FAILED}
OWN_NETWORKS = ["bridge", "host", "none"]
ALONE = os.environ.get("P2POOL_LIFECYCLE")
SEEDS = [int(ALONE)] if ALONE else list(range(int(os.environ.get("P2POOL_LIFECYCLES", "10"))))


@attrs.define
class Copy:
    """What the model knows of a copy: its newest attempt, and what may have happened to it."""

    name: str
    kind: str
    attempt: int = 1
    stopped: bool = False
    disturbed: bool = False

    @property
    def desired(self) -> Desired:
        policy = RestartPolicy(RestartMode.NEVER)
        if self.kind == "sturdy":
            policy = RestartPolicy(RestartMode.ALWAYS, attempts=50, backoff_ms=1_000)
        command = ("sh", "-c", f"trap 'exit 0' TERM; {SCRIPTS[self.kind]}")
        return desired(
            self.name,
            self.attempt,
            image=BUSYBOX_IMAGE,
            command=command,
            stop_grace_s=1,
            restart=policy,
        )


class Life:
    """One sequence: the model, the agent and what is done to both."""

    def __init__(self, seed: int, engine: Engine, proxy: FaultProxy, directory: Path) -> None:
        """Nothing is ordered yet."""
        self.seed = seed
        self.random = random.Random(seed)
        self.engine, self.proxy, self.directory = engine, proxy, directory
        self.disk = Disk()
        self.copies: dict[str, Copy] = {}
        self.said: list[str] = []
        self.client = docker.APIClient(base_url=engine.url, version="auto")
        self.scope: RuntimeScope = SCOPE
        self.side: Side
        self._nursery: trio.Nursery
        self._life = trio.CancelScope()
        self._over = trio.Event()

    # --- the agent --------------------------------------------------------------------------------

    async def begin(self, nursery: trio.Nursery) -> None:
        """Start the agent, from its disk."""
        self._nursery = nursery
        self.side = Side(self.scope, self.proxy.url, self.directory, self.disk)
        self._life, self._over = trio.CancelScope(), trio.Event()
        ready = trio.Event()
        nursery.start_soon(self._live, self.side, ready)
        await ready.wait()

    async def _live(self, side: Side, ready: trio.Event) -> None:
        with self._life:
            async with running(side):
                ready.set()
                await trio.sleep_forever()
        self._over.set()

    async def end(self) -> None:
        """End the agent as a crash does: nothing is asked of the engine any more."""
        self._life.cancel()
        await self._over.wait()

    def order(self, *stops: Copy) -> None:
        """What a leader orders: all that is wanted, and stops, of what was not told as over."""
        over = {(o.allocation, o.attempt) for o in self.disk.told}
        wanted = [c.desired for c in self.copies.values() if not c.stopped]
        self.side.order(
            *(d for d in wanted if (d.allocation, d.attempt) not in over),
            stops=tuple(c.desired for c in stops if (c.desired.allocation, c.attempt) not in over),
        )

    # --- what happens -----------------------------------------------------------------------------

    async def step(self) -> None:
        """Something happens, and then a little time passes."""
        acts = (
            (5, self._begin),
            (3, self._stop),
            (2, self._again),
            (2, self._kill),
            (2, self._remove),
            (2, self._restart_agent),
            (3, self._trouble),
            (1, self._restart_engine),
        )
        (act,) = self.random.choices([a for _, a in acts], [w for w, _ in acts])
        await act()
        await trio.sleep(self.random.choice((0, 0.05, 0.3, 0.8)))

    def _note(self, what: str) -> None:
        self.said.append(what)

    def _any(self) -> Copy | None:
        here = [c for c in self.copies.values() if not c.stopped]
        return self.random.choice(here) if here else None

    async def _begin(self) -> None:
        copy = Copy(f"c{self.seed}-{len(self.copies)}", self.random.choice(list(SCRIPTS)))
        self.copies[copy.name] = copy
        self._note(f"order {copy.name} {copy.kind}")
        self.order()

    async def _stop(self) -> None:
        if (copy := self._any()) is not None:
            copy.stopped = True
            self._note(f"stop {copy.name}")
            self.order(copy)

    async def _again(self) -> None:
        if (copy := self._any()) is not None:
            copy.attempt += 1
            copy.disturbed = False
            self._note(f"attempt {copy.attempt} of {copy.name}")
            self.order()

    async def _kill(self) -> None:
        await self._from_outside("kill", lambda name: self.client.kill(name, "SIGKILL"))

    async def _remove(self) -> None:
        await self._from_outside(
            "remove", lambda name: self.client.remove_container(name, force=True)
        )

    async def _from_outside(self, what: str, act: "object") -> None:
        if (copy := self._any()) is None:
            return
        name = name_of(self.scope, copy.desired.allocation, copy.attempt)
        self._note(f"{what} {copy.name}")
        copy.disturbed = True
        try:
            await trio.to_thread.run_sync(act, name)  # type: ignore[arg-type]
        except APIError as error:
            self._note(f"  (no: {error.status_code})")

    async def _restart_agent(self) -> None:
        self._note("restart the agent")
        await self.end()
        await self.begin(self._nursery)
        self.order()

    async def _trouble(self) -> None:
        kind = self.random.choice(list(Kind))
        pattern = self.random.choice(("", "POST ", "GET ", "/start$", "containers/json"))
        self._note(f"{kind} for {pattern or 'all'}")
        self.proxy.fail(Fault(kind, pattern))
        if self.random.random() < 0.5:
            self.proxy.cut()
        self._nursery.start_soon(self._mend_in, self.random.choice((0.2, 1.0, 2.0)))

    async def _mend_in(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.proxy.mend()

    async def _restart_engine(self) -> None:
        crash = self.random.random() < 0.5
        self._note(f"{'kill' if crash else 'end'} the engine, and start it")
        for copy in self.copies.values():
            copy.disturbed = True
        if crash:
            await self._quiet_engine()
        await trio.to_thread.run_sync(self.engine.crash if crash else self.engine.halt)
        await trio.to_thread.run_sync(self.engine.go_on)
        if crash:
            self.proxy.mend()

    async def _quiet_engine(self) -> None:
        """Until the engine starts nothing, and gets nothing to start any more."""
        self.proxy.fail(Fault(Kind.RESET, "POST "))
        await self.side.wait(lambda: not any(i.busy for i in self.side.worker.items.values()), 60)
        # It may still start what an agent asked for that has ended since: it answers no question
        # about a container meanwhile.
        for row in await trio.to_thread.run_sync(lambda: self.client.containers(all=True)):
            with suppress(APIError):
                await trio.to_thread.run_sync(self.client.inspect_container, row["Id"])

    # --- what has to hold -------------------------------------------------------------------------

    def wanted(self) -> dict[tuple[object, int], Copy]:
        """The copies that run in the end: those that nothing ends, or that are started again."""
        over = {(o.allocation, o.attempt) for o in self.disk.told}
        return {
            (c.desired.allocation, c.attempt): c
            for c in self.copies.values()
            if not c.stopped
            and c.kind not in ENDS
            and (
                c.kind == "sturdy"
                or not c.disturbed
                or (c.desired.allocation, c.attempt) not in over
            )
        }

    async def settle(self) -> None:
        """All is well again: wait for the state that the model says."""
        self.proxy.mend()
        self.order()
        with trio.fail_after(90):
            await self.side.wait(self._settled, 60)
            # What was done from outside is believed after a while: until then the two differ.
            while not await trio.to_thread.run_sync(self._engine_agrees):
                await self.side.wait_turned()
                await self.side.wait(self._settled, 60)

    def _engine_agrees(self) -> bool:
        """Whether there is one container for each copy that is wanted, one that holds its network,
        and all run. Helpers that a killed engine left are removed at the end."""
        rows = [r for r in self.client.containers(all=True) if r["Labels"].get(HELPER) != "1"]
        names = Counter(str(row["Names"][0]).lstrip("/") for row in rows)
        wanted = self.wanted().values()
        copies = [name_of(self.scope, c.desired.allocation, c.attempt) for c in wanted]
        expected = [*copies, *(f"{name}-net" for name in copies)]
        return names == Counter(expected) and all(row["State"] == "running" for row in rows)

    def _settled(self) -> bool:
        wanted = self.wanted()
        items = self.side.worker.items
        return (
            self.side.worker.well
            and set(items) == set(wanted)
            and all(i.runs and not i.busy and i.state is S.RUNNING for i in items.values())
        )

    def check(self) -> None:
        """The engine, and what was told, are as the model says."""
        assert self._engine_agrees()
        wanted = self.wanted()
        times = Counter((o.allocation, o.attempt) for o in self.disk.told)
        twice = [o for o in self.disk.told if times[o.allocation, o.attempt] > 1]
        assert twice == [], "told once"
        for copy in self.copies.values():
            key = (copy.desired.allocation, copy.attempt)
            assert (key in times) == (key not in wanted)
            told = [o.state for o in self.disk.told if (o.allocation, o.attempt) == key]
            if copy.kind in ENDS and not copy.disturbed and not copy.stopped:
                assert told == [ENDS[copy.kind]]
            if copy.kind == "stays" and not copy.disturbed and copy.stopped:
                assert told == [S.STOPPED]
            for earlier in range(1, copy.attempt):
                assert times[copy.desired.allocation, earlier] <= 1

    async def nothing_left(self) -> None:
        """Stop all: then there is no container, volume, network or process of it."""
        for copy in self.copies.values():
            copy.stopped = True
        self.order(*self.copies.values())
        await self.side.wait(lambda: not self.side.worker.items, 60)
        # A copy is told as gone a moment before its sandbox and its network are.
        with trio.move_on_after(30):
            while self.client.containers(all=True):
                await self.side.runtime.list()
                await self.side.runtime.helper.sweep(young=True)
        assert self.client.containers(all=True) == []
        assert not self.client.volumes()["Volumes"]
        await until(lambda: len(self.client.networks()) == len(OWN_NETWORKS))
        assert sorted(n["Name"] for n in self.client.networks()) == OWN_NETWORKS
        await until(lambda: _shims(self.engine) == 0)
        await self.end()
        assert self.disk.rows["orders"] == {}


def _shims(engine: Engine) -> int:
    """How many containers' processes the machine has of this engine."""
    found = subprocess.run(
        ["pgrep", "-fc", f"containerd-shim.*{engine.directory}/exec"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(found.stdout or 0)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_life_ends_as_the_model_says(
    seed: int, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """See the module; a failure names what happened."""
    short_limits(monkeypatch)
    sweep(engine.url)
    before = dict.fromkeys(threading.enumerate())
    proxy = FaultProxy(tmp_path / "proxy.sock", Path(engine.url.removeprefix("unix://")))
    life = Life(seed, engine, proxy, tmp_path)
    began_ms = read_clock().mono_ms
    try:
        async with trio.open_nursery() as nursery:
            await life.begin(nursery)
            for _ in range(STEPS):
                await life.step()
            await life.settle()
            life.check()
            await life.nothing_left()
    except BaseException:
        print(f"seed {seed}, {read_clock().mono_ms - began_ms} ms:", *life.said, sep="\n  ")
        raise
    finally:
        proxy.close()
        life.client.close()
    with trio.move_on_after(30):
        while _new_threads(before):  # noqa: ASYNC110
            await trio.sleep(0.02)
    assert _new_threads(before) == []


def _new_threads(before: "dict[threading.Thread, None]") -> list[str]:
    return [
        t.name for t in threading.enumerate() if t not in before and not t.name.startswith("Trio")
    ]
