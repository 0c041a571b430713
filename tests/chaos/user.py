"""Somebody who holds the manager's key: signs requests, and has them carried out by any agent."""

from typing import Any

import attrs
from eth_account.signers.local import LocalAccount

from p2pool.client.agent_client import Answer
from p2pool.client.requests import request_for
from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.dev.pool import PASSPHRASE, DevAgent, DevPool
from p2pool.drivers.keys.keystore import load_account
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.ids import PoolRef
from p2pool.model.tasks.spec import Constraint, Resources, TaskSpec
from p2pool.wire.typed_data import sign_request

MIB = 1024 * 1024
ENDLESS = ("sh", "-c", "while true; do sleep 1; done")


@attrs.frozen
class User:
    """A key, and the pool that it is the manager of."""

    ref: PoolRef
    account: LocalAccount = attrs.field(repr=False)

    @classmethod
    def of(cls, pool: DevPool) -> "User":
        """The manager of a development pool."""
        key = pool.directory / "keys" / "manager.json"
        account = load_account(key, PASSPHRASE, note=lambda text: None)
        return cls(pool.agents[0].client().pool_ref(), account)

    def signed(self, action: Action, target: str = "", text: str = "") -> SignedRequest:
        """A fresh signed request."""
        return sign_request(self.ref, self.account, request_for(self.ref, action, target, text))

    def submission(self, name: str, on: str = "", **more: Any) -> tuple[SignedRequest, str]:
        """A signed task that runs until it is stopped, and the id that it will have. `on`: its
        node, where that matters; `more` of its specification."""
        if on:
            more["constraints"] = (Constraint("node", on),)
        resources = Resources(cpu_milli=50, memory_bytes=32 * MIB)
        spec = TaskSpec(
            name=name, image="none", command=ENDLESS, resources=resources, stop_grace_s=1, **more
        )
        signed = self.signed(Action.SUBMIT, text=spec_json(spec))
        return signed, task_id(self.ref, signed.request).hex()

    def set(self, agent: DevAgent, name: str, value: str) -> Answer:
        """Set one of the pool's settings."""
        return agent.client().send(self.signed(Action.SET, name, f'{{"value":"{value}"}}'))
