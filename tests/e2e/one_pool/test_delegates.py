"""A pool's manager gives others rights within limits, and takes them back, through any agent."""

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import attrs
import pytest

from p2pool.client.agent_client import Answer
from p2pool.dev.pool import DevAgent
from p2pool.drivers.keys.keystore import import_key_file
from tests.cli.output.held import held
from tests.e2e.conftest import IMAGE, p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED = 3


@attrs.frozen
class Holder:
    """An account with a delegation, and what it does under it."""

    acting: Acting
    name: str
    account: str
    file: Path

    @classmethod
    def of(cls, acting: Acting, name: str, secret: bytes, *limits: str) -> "Holder":
        """An account that the manager gives rights to."""
        keys = acting.pool.directory / "keys"
        path = keys / f"{name}.json"
        if not path.exists():
            import_key_file(path, secret, "development", light=True, note=lambda text: None)
        shown = p2pool("wallet", "show", str(path), "--json")
        made = cls(acting, name, str(held(shown.stdout)["address"]), keys / f"{name}-given.json")
        made.grant(*limits)
        return made

    def grant(self, *limits: str) -> None:
        """Let the manager sign a delegation for an hour."""
        words = ("--for", "1h", "--out", str(self.file), "--force")
        given = self.acting.run(
            self.acting.agents[0], "access", "grant", self.account, *words, *limits
        )
        assert given["delegation"]["delegate"] == self.account

    def does(self, at: DevAgent, *words: str) -> "CompletedProcess[str]":
        """A command under the delegation."""
        environment = {
            **self.acting.environment(at, self.name),
            "P2POOL_DELEGATION": str(self.file),
        }
        return p2pool(*words, **environment)

    def submit(self, at: DevAgent, name: str) -> "CompletedProcess[str]":
        """Run an endless task."""
        least = ("--image", IMAGE, "--cpus", "0.1", "--memory", "64MiB", "--json")
        script = f"echo ready; {ENDLESS}"
        return self.does(at, "task", "run", "--name", name, *least, "--", "sh", "-c", script)

    def submitted(self, at: DevAgent, name: str) -> str:
        """The id of a task that was taken."""
        done = self.submit(at, name)
        assert done.returncode == 0, done.stderr
        return str(held(done.stdout)["task_id"])


async def shown(acting: Acting, at: DevAgent, account: str, **values: object) -> Answer:
    """What `access ls` says of an account at an agent, once it says so: each agent reads its own
    copy of the log, which may be behind the others'."""

    async def listed() -> Answer | None:
        rows = [one for one in acting.run(at, "access", "ls") if one["delegate"] == account]
        return next(
            (r for r in rows if all(r[name] == value for name, value in values.items())), None
        )

    return dict(await acting.pool.wait(f"{values} at {at.name}", listed))


async def stopped(acting: Acting, at: DevAgent, *tasks: str) -> None:
    """Wait until tasks have ended, by the word of one agent."""
    for task in tasks:

        async def over(task: str = task) -> bool:
            return bool((await acting.task(at, task))["state"] == "stopped")

        await acting.pool.wait(f"the end of {task[:8]}", over)


async def test_a_delegate_submits_within_its_quota_until_it_is_revoked(
    pool_directory: Path,
) -> None:
    """One copy at a time: the second task waits and says why, and runs once the first has ended.
    A revocation through another agent stops what runs and what waits, and nothing more is taken;
    a new grant gives new rights."""
    acting = Acting.on(pool_directory)
    one, two, three = acting.agents
    limits = ("--scope", "submit", "--max-replicas", "1", "--name-prefix", "acme-")
    holder = Holder.of(acting, "platform", b"\x06" * 32, *limits)
    first = holder.submitted(one, "acme-first")
    await acting.wait_states(one, first, "running")
    second = holder.submitted(two, "acme-second")

    def waits(copies: list[Answer]) -> bool:
        return [c["state"] for c in copies] == ["pending"] and "quota" in copies[0]["reason"]

    (copy,) = await acting.wait_copies(two, second, "waits for its quota", waits)
    assert "1 of 1 replicas in use" in copy["reason"]
    row = await shown(acting, three, holder.account, tasks=2)
    assert (row["state"], row["used"]["replicas"]) == ("in-force", 1)
    done = holder.submit(three, "other")
    assert (done.returncode, "begin with 'acme-'" in done.stderr) == (REFUSED, True), done.stderr
    ended = holder.does(two, "task", "stop", first)
    assert ended.returncode == 0, ended.stderr
    await acting.wait_states(two, second, "running")
    third = holder.submitted(one, "acme-third")
    acting.run(three, "access", "revoke", holder.account, "--stop-tasks", "--yes")
    await stopped(acting, one, second, third)
    for agent in acting.agents:
        done = holder.submit(agent, "acme-fourth")
        assert (done.returncode, "revoked" in done.stderr) == (REFUSED, True), done.stderr
        await shown(acting, agent, holder.account, state="revoked")
    holder.grant(*limits)
    again = holder.submitted(two, "acme-again")
    await acting.wait_states(two, again, "running")
    await acting.stop_task(two, again)


async def test_a_reader_reads_and_does_nothing_else(pool_directory: Path) -> None:
    """Log lines of a task of the manager's, through each agent; no task, no stop, no drain."""
    acting = Acting.on(pool_directory)
    at = acting.agents[0]
    holder = Holder.of(acting, "reader", b"\x07" * 32, "--scope", "read")
    task = acting.submit(at, "watched", f"echo to be read; {ENDLESS}")
    await acting.wait_states(at, task, "running")
    node: Any = (await at.get("/v1/nodes"))["nodes"][0]["node_id"]
    for agent in acting.agents:
        read = holder.does(agent, "task", "logs", task)
        assert (read.returncode, read.stdout) == (0, "to be read\n"), read.stderr
    alone = holder.does(at, "task", "logs", task, "--delegation", "")
    assert (alone.returncode, alone.stdout) == (REFUSED, ""), alone.stderr
    for agent, done in (
        (acting.agents[1], holder.submit(acting.agents[1], "mine")),
        (acting.agents[2], holder.does(acting.agents[2], "task", "stop", task)),
        (at, holder.does(at, "node", "drain", node)),
    ):
        assert done.returncode == REFUSED, (agent.name, done.stderr)
        assert "scope is read" in done.stderr, done.stderr
    acting.run(at, "access", "revoke", holder.account, "--yes")
    for agent in acting.agents:

        async def refused(agent: DevAgent = agent) -> bool:
            return holder.does(agent, "task", "logs", task).returncode == REFUSED

        await acting.pool.wait(f"{agent.name} that knows the revocation", refused)
    await acting.stop_task(at, task)
