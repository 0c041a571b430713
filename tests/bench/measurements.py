"""Single measurements; each gives seconds (or bytes, or percent) of many rounds."""

import functools
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import trio

from p2pool.client.requests import request_for
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.engine.engine import BUSYBOX_IMAGE
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.tasks.spec import Resources, TaskSpec
from p2pool.wire.typed_data import sign_request

MIB = 1024 * 1024


class User:
    """Somebody who holds the manager's key, beside a pool that runs."""

    def __init__(self, pool: DevPool) -> None:
        self.pool = pool
        key = pool.directory / "keys" / "manager.json"
        self.account = load_account(key, "development", note=lambda text: None)
        self.ref = pool.agents[0].client().pool_ref()

    def signed(self, action: Action, target: str = "", text: str = "") -> SignedRequest:
        """A fresh signed request."""
        return sign_request(self.ref, self.account, request_for(self.ref, action, target, text))

    def submit(self, agent: DevAgent, command: str = "sleep 1000", cpu_milli: int = 300) -> str:
        """Have a small task run; its id once it is committed."""
        spec = TaskSpec(
            name=f"bench-{uuid.uuid4().hex}",  # Names of living tasks differ.
            image=BUSYBOX_IMAGE,
            command=("sh", "-c", command),
            resources=Resources(cpu_milli=cpu_milli, memory_bytes=16 * MIB),
            stop_grace_s=0,
        )
        signed = self.signed(Action.SUBMIT, text=spec_json(spec))
        return str(agent.client().send(signed)["task_id"])

    def stop(self, agent: DevAgent, task: str) -> None:
        """End a task."""
        agent.client().send(self.signed(Action.STOP, task))


def timed(act: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def durable_submission(user: User, rounds: int) -> list[float]:
    """From handing a signed request to an agent until it is committed and durable."""
    agent = user.pool.agents[2]
    node = user.pool.agents[0].node_id[2:]
    requests = [
        user.signed(action, node) for _ in range(rounds) for action in (Action.DRAIN, Action.RESUME)
    ]
    client = agent.client()
    return [timed(functools.partial(client.send, signed), 1)[0] for signed in requests]


def fsync(directory: Path, rounds: int) -> list[float]:
    """One small write made durable on the same disk."""
    path = directory / "fsync"
    with path.open("wb") as file:

        def write() -> None:
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())

        taken = timed(write, rounds)
    path.unlink()
    return taken


async def failover(user: User) -> float:
    """From SIGKILL of the master until another agent has accepted a write."""
    pool = user.pool
    leader = (await pool.agents[0].get("/v1/leader"))["leader"]["node_id"]
    master = next(a for a in pool.agents if a.node_id == leader)
    other = next(a for a in pool.agents if a.node_id != leader)
    assert master.child is not None
    began = time.perf_counter()
    master.child.signal(9)
    task = await trio.to_thread.run_sync(user.submit, other, "true")
    taken = time.perf_counter() - began
    assert task
    await master.child.wait_gone()
    await pool.start_agent(master)
    await pool.wait_elected(pool.agents)
    await pool.wait_committee(3)
    return taken


def idle(pids: Sequence[int], seconds: float) -> tuple[float, float]:
    """Percent of a core and resident bytes of an idle process: the medians of all of these."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.cpu_percent()
    time.sleep(seconds)
    percents = [process.cpu_percent() for process in processes]
    resident = [process.memory_info().rss for process in processes]
    return statistics.median(percents), statistics.median(resident)


def agent_pids(pool: DevPool) -> list[int]:
    """The processes of a pool's agents."""
    return [agent.child.pid for agent in pool.agents if agent.child is not None]


def command(arguments: list[str], rounds: int) -> list[float]:
    """Running this Python with arguments."""
    return timed(
        lambda: subprocess.run([sys.executable, *arguments], capture_output=True, check=True),
        rounds,
    )
