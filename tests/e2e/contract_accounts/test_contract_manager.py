"""A contract manages a pool of real agents: what it may, by whom, and what it may not."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.client.requests import request_for
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.access.delegations import Delegation, Scope
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.errors import BadSignature, ChainUnavailable
from p2pool.model.ids import Address
from p2pool.model.tasks.spec import Resources, TaskSpec
from p2pool.wire.account import HasKey, sign_hash
from p2pool.wire.typed_data import sign_delegation, sign_request
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool
from tests.e2e.contract_accounts.managed_pool import HEIR, OWNER, ContractPool, contract_pool

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

UNAVAILABLE = 5
ENDLESS = "echo here; while true; do sleep 1; done"


@pytest.fixture(scope="module")
def pool() -> Iterator[ContractPool]:
    """Its agents came in by invites that the contract's owner signed at the command line."""
    with contract_pool() as made:
        yield made


def owner_of(pool: ContractPool, name: str = OWNER) -> Any:
    path = pool.directory / "keys" / f"{name}.json"
    return load_account(path, "development", note=lambda text: None)


def submission(pool: ContractPool, by: HasKey, name: str) -> SignedRequest:
    """A task in the contract's name."""
    spec = TaskSpec(
        name=name,
        image="none",
        command=("sh", "-c", ENDLESS),
        resources=Resources(cpu_milli=10, memory_bytes=2**24),
    )
    ref = pool.agents[0].client().pool_ref()
    request = request_for(ref, Action.SUBMIT, spec_json=spec_json(spec))
    return attrs.evolve(sign_request(ref, by, request), contract=pool.account)


async def running(pool: ContractPool, at: DevAgent, task: str) -> None:
    async def there() -> bool:
        copies = (await at.get(f"/v1/tasks/{task}"))["task"]["allocations"]
        return [copy["state"] for copy in copies] == ["running"]

    await pool.wait(f"{task[:8]} running", there)


async def test_its_owner_runs_a_task_and_reads_its_lines(pool: ContractPool) -> None:
    """By the command line, at an agent that may not lead; the log names the contract."""
    for number, at in enumerate(pool.agents):
        done = pool.command(
            at,
            *("task", "run", "--json", "--name", f"owned-{number}", "--image", "none"),
            *("--cpus", "0.1", "--memory", "16MiB", "--", "sh", "-c", ENDLESS),
        )
        assert done.returncode == 0, done.stderr
        task = held(done.stdout)["task_id"]
        await running(pool, at, task)
        told = (await at.get(f"/v1/tasks/{task}"))["task"]
        assert told["signer"] == address_text(pool.account)
        reader = pool.agents[(number + 1) % 3]

        async def read() -> bool:
            """A busy machine may be late to open the stream: the command says to try again."""
            lines = pool.command(reader, "task", "logs", task)  # noqa: B023
            assert lines.returncode in (0, UNAVAILABLE), lines.stderr
            return lines.returncode == 0 and "here" in lines.stdout

        await pool.wait(f"lines of {task[:8]}", read)
        stopped = pool.command(at, "task", "stop", task, "--wait")
        assert stopped.returncode == 0, stopped.stderr


async def test_what_its_owners_sign_elsewhere_is_sent(pool: ContractPool, tmp_path: Path) -> None:
    """Written to a file with the digest, signed by whoever owns it, and sent with the signature."""
    at, file = pool.agents[0], tmp_path / "unsigned.json"
    done = pool.command(
        at,
        *("task", "run", "--name", "elsewhere", "--image", "none", "--unsigned", str(file)),
        *("--cpus", "0.1", "--memory", "16MiB", "--", "sh", "-c", ENDLESS),
    )
    assert done.returncode == 0, done.stderr
    digest = bytes.fromhex(json.loads(file.read_text())["data"]["digest"][2:])
    good = sign_hash(owner_of(pool), digest).hex()
    bad = sign_hash(new_account(), digest).hex()
    environment = {"P2POOL_AGENT": str(at.directory)}
    refused = p2pool("wallet", "send", str(file), "--signature", f"0x{bad}", **environment)
    assert refused.returncode != 0
    assert "did not sign" in refused.stderr
    sent = p2pool("wallet", "send", str(file), "--signature", f"0x{good}", "--json", **environment)
    assert sent.returncode == 0, sent.stderr
    await running(pool, at, held(sent.stdout)["task_id"])


async def test_its_delegate_signs_by_a_key(pool: ContractPool) -> None:
    """The chain is asked about the delegation alone, by every agent that starts a copy."""
    at, friend = pool.agents[2], new_account()
    ref = at.client().pool_ref()
    now_s = int(time.time())
    address = Address(bytes.fromhex(friend.address[2:]))
    given = Delegation(ref.pool_id, address, Scope.SUBMIT, now_s - 10, now_s + 3600)
    under = attrs.evolve(sign_delegation(ref, owner_of(pool), given), contract=pool.account)
    signed = attrs.evolve(submission(pool, friend, "delegated"), contract=None, delegation=under)
    answer = at.client().send(signed)
    await running(pool, at, answer["task_id"])
    forged = attrs.evolve(sign_delegation(ref, friend, given), contract=pool.account)
    other = submission(pool, friend, "forged")
    with pytest.raises(BadSignature, match="did not sign"):
        at.client().send(attrs.evolve(other, contract=None, delegation=forged))


async def test_without_the_chain_nothing_is_taken(pool: ContractPool) -> None:
    """The asker hears that nobody can tell, and the same request is taken afterwards."""
    at = pool.agents[0]
    signed = submission(pool, owner_of(pool), "blind")
    chain = next(c for c in pool.children if c.name == "chain")
    chain.signal(signal.SIGSTOP)
    try:
        with pytest.raises(ChainUnavailable, match="cannot tell"):
            await trio.to_thread.run_sync(lambda: at.client().send(signed, patience_ms=0))
        names = [t["name"] for t in (await at.get("/v1/tasks"))["tasks"]]
        assert "blind" not in names
    finally:
        chain.signal(signal.SIGCONT)
    answer = await trio.to_thread.run_sync(lambda: at.client().send(signed))
    await running(pool, at, answer["task_id"])


async def test_a_former_owner_asks_in_vain_and_what_runs_stays(pool: ContractPool) -> None:
    """From the final block on in which it was handed on; the new owner may stop what runs."""
    at, owner = pool.agents[1], owner_of(pool)
    answer = at.client().send(submission(pool, owner, "inherited"))
    await running(pool, at, answer["task_id"])
    await pool.hand_on(owner)

    async def refused() -> bool:
        name = f"late-{time.monotonic_ns()}"
        late = submission(pool, owner, name)
        try:
            await trio.to_thread.run_sync(lambda: at.client().send(late))
        except BadSignature as error:
            return "did not sign" in error.message
        return False

    await pool.wait("refusal of the former owner", refused)
    await running(pool, at, answer["task_id"])
    stopped = pool.command(at, "task", "stop", "inherited", "--wait", key=HEIR)
    assert stopped.returncode == 0, stopped.stderr


async def test_an_invite_by_somebody_else_is_refused_at_once(pool: ContractPool) -> None:
    """An agent asks the chain before it keeps one: nobody waits for a join that cannot be."""
    at = pool.agents[0]
    node = new_account().address.lower()
    done = pool.command(at, "pool", "invite", node, key="agent-1-provider")
    assert done.returncode != 0
    assert "did not sign this invite" in done.stderr
