"""A platform with a delegation uses real agents as far as its quota goes, until it is revoked."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account

from p2pool.cli.shared.signer import opened_account
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.discovery import find_agent
from p2pool.client.requests import request_for
from p2pool.codec.json.delegations import delegation_file_json, read_delegation_file
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.pool import DevAgent
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    Scope,
    SignedDelegation,
)
from p2pool.model.access.requests import Action
from p2pool.model.errors import NotAllowed
from p2pool.model.ids import Address
from p2pool.wire.account import HasKey
from p2pool.wire.typed_data import check_delegation_file, sign_delegation, sign_request
from tests.e2e.conftest import IMAGE
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

QUOTA = Quota(max_replicas=2, max_cpu_milli=1000, name_prefix="team-")
FULL = "over the quota of the delegation: 2 of 2 replicas in use"


def _address(account: Any) -> Address:
    return Address(bytes.fromhex(account.address[2:]))


class Platform:
    """Whoever holds a delegation file and a key of its own."""

    def __init__(self, acting: Acting, at: DevAgent) -> None:
        keys = acting.pool.directory / "keys"
        self.manager: Any = opened_account(str(keys / "manager.json"), str(keys / "passphrase"))
        self.key: HasKey = Account.create()
        self.account = _address(self.key)
        self.pool = self.client(at).pool_ref()
        self.delegation = self._given()

    def client(self, at: DevAgent) -> AgentClient:
        found = find_agent(str(at.directory), {})
        return AgentClient(found.url, found.token)

    def _given(self) -> SignedDelegation:
        """What the manager writes into a file, and the platform reads from it."""
        now_s = int(time.time())
        given = Delegation(
            pool_id=self.pool.pool_id,
            delegate=self.account,
            scope=Scope.SUBMIT,
            not_before_s=now_s - 5,
            not_after_s=now_s + 3_600,
            quota=QUOTA,
        )
        signed = sign_delegation(self.pool, self.manager, given)
        written = delegation_file_json(DelegationFile(self.pool, _address(self.manager), signed))
        read = read_delegation_file(json.dumps(written).encode())
        check_delegation_file(read)
        return read.signed

    async def submit(self, at: DevAgent, name: str, replicas: int = 1) -> str:
        """A task that runs until it is stopped; its id."""
        spec = {
            "name": name,
            "image": IMAGE,
            "command": ["sh", "-c", ENDLESS],
            "replicas": replicas,
            "resources": {"cpu_milli": 100, "memory_bytes": 64 * 2**20},
        }
        return str((await self._send(at, Action.SUBMIT, "", spec_json(spec)))["task_id"])

    async def stop(self, at: DevAgent, task: str) -> None:
        await self._send(at, Action.STOP, task, "")

    async def _send(self, at: DevAgent, action: Action, target: str, text: str) -> Answer:
        request = request_for(self.pool, action, target, text)
        signed = sign_request(self.pool, self.key, request, self.delegation)
        return await trio.to_thread.run_sync(self.client(at).send, signed)

    async def revoke(self, at: DevAgent, text: str) -> None:
        """The manager voids it."""
        request = request_for(self.pool, Action.REVOKE, self.account.hex(), text)
        signed = sign_request(self.pool, self.manager, request)
        await trio.to_thread.run_sync(self.client(at).send, signed)

    async def access(self, at: DevAgent) -> Answer:
        """What an agent says of it."""
        mine = "0x" + self.account.hex()
        (row,) = await trio.to_thread.run_sync(self.client(at).access, mine)
        return row


async def test_a_platform_gets_what_its_quota_allows(pool_directory: Path) -> None:
    """It is refused what never fits, waits for what is in use, and sees both on every agent, also
    after one was killed; a revocation ends what waits, and then what runs."""
    acting = Acting.on(pool_directory)
    first, second = acting.agents[0], acting.agents[1]
    platform = Platform(acting, first)
    for name, replicas, words in (
        ("mine", 1, "does not begin with 'team-'"),
        ("team-c", 3, "it asks for 3 replicas, and 2 is the most"),
    ):
        with pytest.raises(NotAllowed, match=words):
            await platform.submit(second, name, replicas)
    runs = await platform.submit(first, "team-a", 2)
    await acting.wait_states(first, runs, "running", "running")
    waits = await platform.submit(second, "team-b")

    def told(copies: list[Answer]) -> bool:
        return [(c["state"], c["reason"]) for c in copies] == [("pending", FULL)]

    for agent in acting.agents:
        await acting.wait_copies(agent, waits, "waits for its quota", told)
    shown = await platform.access(second)
    assert (shown["state"], shown["tasks"]) == ("in-force", 2)
    assert shown["used"] == {"gpus": 0, "cpu_milli": 200, "replicas": 2}
    assert shown["quota"]["max_replicas"] == 2
    assert (await acting.task(second, waits))["grantor"] == shown["grantor"]

    await acting.kill(second)
    await acting.start(second)
    await acting.wait_copies(second, waits, "waits after a restart", told)
    await platform.stop(second, runs)
    await acting.wait_states(first, waits, "running")

    late = await platform.submit(first, "team-d", 2)
    await acting.wait_copies(first, late, "has one place of two", _has_one)
    await platform.revoke(second, "")
    await acting.wait_copies(
        first, late, "waits in vain", lambda cs: any("revoked" in c["reason"] for c in cs)
    )
    assert (await acting.task(first, waits))["state"] == "running"
    with pytest.raises(NotAllowed, match="revoked"):
        await platform.submit(first, "team-e")
    assert (await platform.access(first))["state"] == "revoked"
    await platform.revoke(first, '{"stopRunning":true}')
    for task in (waits, late):

        async def ended(task: str = task) -> bool:
            return bool((await acting.task(second, task))["state"] == "stopped")

        await acting.pool.wait(f"the end of {task[:8]}", ended)
    assert (await platform.access(second))["used"] == {"gpus": 0, "cpu_milli": 0, "replicas": 0}


def _has_one(copies: list[Answer]) -> bool:
    return sorted(c["state"] for c in copies) == ["pending", "running"]
