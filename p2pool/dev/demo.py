"""The demonstration: a pool that loses its master and carries on, narrated as it happens.

Every step checks what it says. A failure ends the story with the step, the reason, and the place of
the logs. Whatever happens, nothing is left behind: no process, container, image, network or
directory.
"""

import shlex
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from rich.table import Table
from rich.text import Text

from p2pool.client.agent_client import Answer
from p2pool.client.requests import grant_for, request_for
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.cleanup import runtime_of
from p2pool.dev.end import ended
from p2pool.dev.narrator import Narrator
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.access.requests import Action
from p2pool.model.errors import Misconfigured, Unavailable
from p2pool.model.ids import PoolRef
from p2pool.model.ports.agent import LogOptions
from p2pool.model.ports.runtime import ContainerState
from p2pool.model.tasks.spec import Resources, TaskSpec
from p2pool.wire.typed_data import sign_grant, sign_request

REPLICAS = 3
MEMORY_BYTES = 64 * 1024 * 1024
NEXT = """  p2pool dev up         the same pool, to play with; it prints what to try
  p2pool agent check    does this machine qualify, and what to do if not
  p2pool --help         all commands"""
COMMAND = 'echo "replica $P2POOL_REPLICA began at $(date +%s)"; while true; do sleep 1; done'

Running = dict[str, tuple[int, int]]
"""Allocation -> (attempt, start of its container in Unix milliseconds)."""


def next_steps() -> str:
    """What to do after the demonstration; first, if a shell would not find `p2pool`, how to
    make it do so."""
    activate = Path(sys.executable).parent / "activate"
    unknown = shutil.which("p2pool") is None and activate.exists()
    found = f"  source {shlex.quote(str(activate))}\n" if unknown else ""
    return f"\nNothing of it is left. What to do next:\n{found}{NEXT}"


def _temporary() -> Path:
    """A new directory in the place for temporary files."""
    try:
        return Path(tempfile.mkdtemp(prefix="p2pool-demo-")).absolute()
    except OSError as error:
        raise Misconfigured(
            f"There is no place for temporary files: {error.strerror or error}.",
            hint="Set TMPDIR to a directory that can be written, or name one: --dir DIR.",
        ) from error


class Demo:
    """One performance."""

    def __init__(
        self, directory: Path | None, nodes: int, keep_logs: bool, narrator: Narrator
    ) -> None:
        """`directory` None: one of its own, in the place for temporary files."""
        self._given = directory
        self.nodes, self.keep_logs = nodes, keep_logs
        self._say = self._narrator = narrator
        self._account: Any = None

    # --- the story --------------------------------------------------------------------------------

    async def run(self) -> Answer:
        """Play it all; returns what was shown, as facts. Raises what went wrong, with the step."""
        directory = self._given or _temporary()
        self.pool = DevPool(directory, self._narrator)
        try:
            with self._narrator.waiting():
                async with ended(
                    self.pool, self._narrator, in_any_case=True, keep_logs=self.keep_logs
                ):
                    told = await self._play()
        finally:
            if self._given is None:
                with suppress(OSError):  # It still exists if no pool was made in it.
                    directory.rmdir()
        told["seconds"] = round(self._narrator.passed_s, 1)
        self._close(told)
        return told

    async def _play(self) -> Answer:
        pool = self.pool
        await pool.up(self.nodes)
        await pool.wait_heartbeats()
        first = await pool.wait_elected(pool.agents)
        await pool.wait_committee(min(3, self.nodes))
        self._say(f"master is {self._name(first['node_id'])}, term {first['term']}")
        keys = pool.directory / "keys"
        passphrase = (keys / "passphrase").read_text(encoding="utf-8").strip()
        self._account = await trio.to_thread.run_sync(
            lambda: load_account(keys / "manager.json", passphrase, note=lambda text: None)
        )
        task = await self._submit(pool.agents[1], "demo", REPLICAS, COMMAND)
        copies = await self._wait_running(pool.agents[1], task, REPLICAS)
        lines = [await self._line_from_elsewhere(copy) for copy in copies]
        before = await self._containers()
        master = self._agent(first["node_id"])
        rest = [agent for agent in pool.agents if agent is not master]
        self._say(f"killing the master, {master.name}, with SIGKILL")
        assert master.child is not None
        master.child.signal(signal.SIGKILL)
        killed_s = time.monotonic()
        await master.child.wait_gone()
        second = await pool.wait_elected(rest, first["term"])
        elected_s = time.monotonic() - killed_s
        self._say(
            f"master is {self._name(second['node_id'])}, term {second['term']}, "
            f"{elected_s:.1f} s later"
        )
        after = await self._containers()
        if after != before:
            raise Unavailable(f"Containers were touched: {before} before, {after} after.")
        self._say(f"all {len(after)} containers run on as they were")
        third = next(agent for agent in rest if agent.node_id != second["node_id"])
        another = await self._submit(third, "another", 1, COMMAND)
        await self._wait_running(third, another, 1)
        return {
            "nodes": self.nodes,
            "runtime": pool.runtime,
            "first_master": {"node_id": first["node_id"], "term": first["term"]},
            "second_master": {"node_id": second["node_id"], "term": second["term"]},
            "election_s": round(elected_s, 2),
            "log_lines": lines,
            "containers_untouched": len(after),
            "tasks": [task, another],
        }

    # --- its steps --------------------------------------------------------------------------------

    def _agent(self, node_id: str) -> DevAgent:
        return next(agent for agent in self.pool.agents if agent.node_id == node_id)

    def _name(self, node_id: str) -> str:
        return self._agent(node_id).name

    async def _pool_ref(self) -> PoolRef:
        client = self.pool.agents[1].client()
        return await trio.to_thread.run_sync(client.pool_ref)

    async def _submit(self, to: DevAgent, name: str, replicas: int, script: str) -> str:
        """Sign a task and hand it to an agent; returns its id."""
        self._say(f"submitting the task {name!r} ({replicas} replicas) through {to.name}")
        spec = TaskSpec(
            name=name,
            image=self.pool.image.name,
            command=("sh", "-c", script),
            replicas=replicas,
            resources=Resources(cpu_milli=100, memory_bytes=MEMORY_BYTES),
            stop_grace_s=1,
        )
        ref = await self._pool_ref()
        request = request_for(ref, Action.SUBMIT, spec_json=spec_json(spec))
        signed = sign_request(ref, self._account, request)
        accepted = await trio.to_thread.run_sync(lambda: to.client().send(signed))
        return str(accepted["task_id"])

    async def _wait_running(self, at: DevAgent, task: str, count: int) -> list[Answer]:
        async def running() -> list[Answer] | None:
            copies = (await at.get(f"/v1/tasks/{task}"))["task"]["allocations"]
            found = [copy for copy in copies if copy["state"] == "running"]
            return found if len(found) == count else None

        copies: list[Answer] = await self.pool.wait(f"{count} running", running)
        return copies

    async def _line_from_elsewhere(self, copy: Answer) -> str:
        """The first line of a copy's log, from an agent that does not run it."""
        reader = next(a for a in self.pool.agents if a.node_id != copy["node_id"])
        ref = await self._pool_ref()
        grant = sign_grant(ref, self._account, grant_for(ref, copy["task_id"]))

        def first_line() -> str:
            for lines in reader.client().logs(copy["id"], grant, LogOptions(follow=True)):
                if "text" in lines[0]:
                    return str(lines[0]["text"]).rstrip("\n")
            raise Unavailable(f"{copy['id']} has no log line.")

        text = await trio.to_thread.run_sync(first_line)
        self._say(f"{reader.name} reads from {self._name(copy['node_id'])}: {text!r}")
        return text

    async def _containers(self) -> Running:
        """All running containers, from the engine itself."""
        found: Running = {}
        for agent in self.pool.agents:
            path = self.pool.directory / f"{agent.name}.toml"
            runtime = runtime_of(path, agent.directory, agent.node_id)
            for status in await runtime.list():
                if status.state is ContainerState.RUNNING:
                    found[str(status.allocation)] = (status.attempt, status.started_at_ms)
        return found

    def _close(self, told: Answer) -> None:
        """Show the results as numbers, and what to do next."""
        table = Table(title="p2pool demo", show_header=False)
        rows = [
            ("nodes", str(told["nodes"])),
            ("tasks run as", "containers" if told["runtime"] == "docker" else "processes"),
            ("first master", f"term {told['first_master']['term']}"),
            ("next master", f"term {told['second_master']['term']}, after {told['election_s']} s"),
            ("log lines from afar", str(len(told["log_lines"]))),
            ("copies untouched", str(told["containers_untouched"])),
            ("tasks run", str(len(told["tasks"]))),
            ("all in", f"{told['seconds']} s"),
        ]
        for name, value in rows:
            table.add_row(name, value)
        self._narrator.show(table)
        self._narrator.show(Text(next_steps()))
