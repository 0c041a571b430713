"""Secrets of tasks whose nodes die: sealed on by who runs the task, or provided by the submitter.

Three real agents on one engine. What thieves could search (disks, answers of the API) is searched.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import docker
import pytest
import trio

from p2pool.client.requests import new_request_id, request_for
from p2pool.client.secrets import candidates_of, recipients_of, seal, with_secrets
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.dev.pool import DevAgent
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.access.requests import Action
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.tasks.secrets import ANYONE, SecretOwner, SecretValue
from p2pool.wire.typed_data import sign_request
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting
from tests.sim.harness.secret_tasks import spellings

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

SECRET = b"canary: correct horse battery staple"
LITTLE = {"cpu_milli": 100, "memory_bytes": 64 * 1024 * 1024}
TOLD = (
    *("/v1/tasks", "/v1/allocations", "/v1/nodes", "/v1/bindings", "/v1/agent", "/v1/pool"),
    *("/v1/committee", "/v1/roster", "/v1/leader", "/v1/evidence", "/v1/logs-held", "/metrics"),
)


@attrs.define
class Submitter:
    """The manager, who seals to fewer nodes than the command line does."""

    acting: Acting

    def run(self, to: list[DevAgent], **keys: object) -> str:
        """A task that prints its secret's digest; the id."""
        client = self.acting.agents[0].client()
        pool, keyring = client.pool_ref(), self.acting.pool.directory / "keys"
        passphrase = (keyring / "passphrase").read_text().strip()
        account = load_account(keyring / "manager.json", passphrase)
        signer = Address(bytes.fromhex(account.address[2:]))
        owner = SecretOwner(pool, signer, new_request_id())
        named = {NodeId(bytes.fromhex(one.node_id[2:])) for one in to}
        candidates = candidates_of(client.bindings(), pool)
        now_s = request_for(pool, Action.SUBMIT).not_before_s
        recipients = recipients_of(candidates, ANYONE, pool, now_s, members=named)
        assert len(recipients) == len(to)
        sealed = seal([SecretValue("db", SECRET, True, "DB")], owner, recipients)
        text = spec_json(
            with_secrets(
                {
                    "image": BUSYBOX_IMAGE,
                    "command": ["sh", "-c", f"sha256sum /run/secrets/db; {ENDLESS}"],
                    "resources": LITTLE,
                    "reconnect_window_s": 5,
                    **keys,
                },
                sealed,
            )
        )
        request = request_for(pool, Action.SUBMIT, "", text, owner.request_id)
        signed = sign_request(pool, account, request)
        return str(client.send(signed, secrets=sealed.blob)["task_id"])


async def searched(acting: Acting, task: str) -> None:
    """No file of the pool and no answer of an agent holds the secret, in any spelling."""
    wanted = spellings(SECRET)
    for file in acting.pool.directory.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not [one for one in wanted if one in data], file
    for agent in acting.agents:
        if agent.child is None or not await _answers(agent):
            continue
        for path in (*TOLD, f"/v1/tasks/{task}", f"/v1/tasks/{task}/reasons"):
            told = await _told(agent, path)
            assert not [one for one in wanted if one in told], path


async def _answers(agent: DevAgent) -> bool:
    try:
        await agent.get("/v1/agent")
    except P2poolError:  # It was killed.
        return False
    return True


async def _told(agent: DevAgent, path: str) -> bytes:
    client = agent.client()
    return await trio.to_thread.run_sync(lambda: client._exchange("GET", path, None)[1])


def reads(engine: Engine, task: str) -> list[bytes]:
    """What each running copy of a task finds in the file."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    try:
        found = []
        for row in client.containers(filters={"label": [f"p2pool.task={task}"]}):
            made = client.exec_create(row["Id"], ["cat", "/run/secrets/db"])
            found.append(bytes(client.exec_start(made["Id"])))
        return found
    finally:
        client.close()


@pytest.fixture
async def acting(pool_directory: Path) -> AsyncIterator[Acting]:
    """The pool, and all of its agents again at the end."""
    made = Acting.on(pool_directory)
    yield made
    for agent in made.agents:
        if not await _answers(agent):
            await made.start(agent)


async def test_a_copy_elsewhere_is_sealed_to_by_one_that_runs_the_task(
    acting: Acting, engine: Engine
) -> None:
    """Two copies that one machine cannot hold, sealed to one node: the other node asks it, and gets
    the key once most voters have signed where the copy is. When the first node dies, the second
    seals to the third."""
    at, first = acting.agents[0], acting.agents[1]
    task = Submitter(acting).run(
        [first], name="sealed-on", replicas=2, resources=await more_than_half(at)
    )
    copies = await acting.wait_states(at, task, "running", "running")
    assert len({copy["node_id"] for copy in copies}) == 2
    assert first.node_id in {copy["node_id"] for copy in copies}
    assert reads(engine, task) == [SECRET] * 2
    await searched(acting, task)
    await acting.kill(first)
    copies = await acting.wait_copies(
        next(one for one in acting.agents if one is not first),
        task,
        "both elsewhere",
        lambda found: all(c["state"] == "running" and c["node_id"] != first.node_id for c in found),
    )
    assert {copy["node_id"] for copy in copies} == {acting.agents[n].node_id for n in (0, 2)}
    await acting.start(first)
    await acting.stop_task(at, task)
    await searched(acting, task)


async def more_than_half(agent: DevAgent) -> dict[str, int]:
    """What leaves no room for a second copy on a node."""
    nodes = (await agent.get("/v1/nodes"))["nodes"]
    most = max(int(node["hardware"]["cpu_milli"]) for node in nodes)
    return {**LITTLE, "cpu_milli": most // 2 + 1}


async def test_where_no_node_has_them_the_submitter_provides_them(
    acting: Acting, engine: Engine, tmp_path: Path
) -> None:
    """The only node with the key is killed: the copy waits, and says for whom; given the values
    again it runs on another node."""
    only, at = acting.agents[1], acting.agents[0]
    task = Submitter(acting).run([only], name="orphaned")
    (copy,) = await acting.wait_states(at, task, "running")
    assert copy["node_id"] == only.node_id
    assert reads(engine, task) == [SECRET]
    await acting.kill(only)
    await acting.wait_copies(
        at, task, "waiting", lambda found: "needs its submitter" in found[0]["reason"]
    )
    await searched(acting, task)
    (tmp_path / "db").write_bytes(SECRET)
    given = p2pool(
        *("task", "provide-secrets", task, f"db=file:{tmp_path}/db"), **acting.environment(at)
    )
    assert given.returncode == 0, given.stderr
    await acting.wait_copies(
        at,
        task,
        "running elsewhere",
        lambda found: found[0]["state"] == "running" and found[0]["node_id"] != only.node_id,
    )
    assert SECRET in reads(engine, task)
    (tmp_path / "db").unlink()
    await acting.start(only)
    await acting.stop_task(at, task)
    await searched(acting, task)
