"""What the tests do to a pool that runs, each with a deadline, through what users have."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from p2pool.client.agent_client import Answer
from p2pool.dev.cleanup import runtime_of
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.model.errors import Unavailable
from p2pool.model.ports.runtime import ContainerState
from tests.cli.output.held import held
from tests.e2e.conftest import IMAGE, p2pool

ENDLESS = "while true; do sleep 1; done"


@attrs.define
class Acting:
    """A pool, and a user of it who holds the manager's key."""

    pool: DevPool

    @classmethod
    def on(cls, directory: Path) -> "Acting":
        """The pool in a directory."""
        return cls(DevPool.load(directory, lambda text: None))

    @property
    def agents(self) -> list[DevAgent]:
        return self.pool.agents

    def environment(self, at: DevAgent, key: str = "manager") -> dict[str, str]:
        keys = self.pool.directory / "keys"
        return {
            "P2POOL_AGENT": str(at.directory),
            "P2POOL_KEY": str(keys / f"{key}.json"),
            "P2POOL_PASSPHRASE_FILE": str(keys / "passphrase"),
        }

    def run(self, at: DevAgent, *arguments: str, key: str = "manager") -> Any:
        """A command that has to succeed; its JSON."""
        group, verb, *rest = arguments
        done = p2pool(group, verb, "--json", *rest, **self.environment(at, key))
        assert done.returncode == 0, done.stderr
        return held(done.stdout)

    def submit(self, at: DevAgent, name: str, script: str, *options: str) -> str:
        """Run a task by the command line; its id."""
        made = self.run(
            at,
            "task",
            "run",
            "--name",
            name,
            "--image",
            IMAGE,
            "--cpus",
            "0.1",
            "--memory",
            "64MiB",
            *options,
            "--",
            "sh",
            "-c",
            script,
        )
        return str(made["task_id"])

    async def task(self, at: DevAgent, task: str) -> Answer:
        return dict((await at.get(f"/v1/tasks/{task}"))["task"])

    async def wait_states(self, at: DevAgent, task: str, *states: str) -> list[Answer]:
        """Wait until the copies of a task are in these states, in any order."""

        def done(copies: list[Answer]) -> bool:
            return sorted(c["state"] for c in copies) == sorted(states)

        return await self.wait_copies(at, task, str(states), done)

    async def wait_copies(
        self, at: DevAgent, task: str, what: str, done: Callable[[list[Answer]], bool]
    ) -> list[Answer]:
        """Wait until the copies of a task are as they should be; a failure says how they are."""

        async def there() -> list[Answer]:
            copies = list((await self.task(at, task))["allocations"])
            if done(copies):
                return copies
            raise Unavailable("; ".join(_described(copy) for copy in copies))

        return list(await self.pool.wait(f"{task[:8]} {what}", there))

    async def containers(self, agent: DevAgent) -> dict[str, int]:
        """Running containers of one agent, from the engine itself: allocation -> start."""
        path = self.pool.directory / f"{agent.name}.toml"
        found = await runtime_of(path, agent.directory, agent.node_id).list()
        running = [s for s in found if s.state is ContainerState.RUNNING]
        return {str(s.allocation): s.started_at_ms for s in running}

    async def kill(self, agent: DevAgent, number: int = signal.SIGKILL) -> None:
        """End an agent's process."""
        assert agent.child is not None
        agent.child.signal(number)
        await agent.child.wait_gone()

    async def start(self, agent: DevAgent) -> None:
        """Start an agent again, and wait until it takes part."""
        await self.pool.start_agent(agent)
        await self.pool.wait(f"{agent.name} ready", lambda: self.is_ready(agent))

    async def is_ready(self, agent: DevAgent) -> bool:
        return bool((await agent.get("/v1/agent"))["agent"]["ready"])

    async def stop_task(self, at: DevAgent, task: str) -> None:
        """Stop a task and wait for its end."""
        self.run(at, "task", "stop", task)

        async def ended() -> bool:
            return (await self.task(at, task))["state"] in ("stopped", "failed", "succeeded")

        await self.pool.wait(f"the end of {task[:8]}", ended)


def _described(copy: Answer) -> str:
    wanted = ("index", "attempt", "state", "node_id", "exit_code", "reason")
    return ", ".join(f"{name} {copy[name]}" for name in wanted if copy.get(name) is not None)
