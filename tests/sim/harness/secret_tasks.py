"""Somebody who submits tasks with secrets to a simulated pool, and what their copies get."""

import base64
from collections.abc import Iterable

import attrs

from p2pool.agent.containers.secret_opener import SecretOpener
from p2pool.client.secrets import SealedSecrets, seal, secrets_table
from p2pool.codec.digests import task_id
from p2pool.codec.spec.secrets import renewal_json
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.model.access.requests import Action, Signers, TaskRequest
from p2pool.model.ids import Digest, TaskId
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.tasks.secrets import (
    ANYONE,
    RecipientPolicy,
    SecretOwner,
    SecretValue,
    TaskSecrets,
)
from p2pool.model.tasks.spec import PublishedPort, TaskSpec
from p2pool.wire.typed_data import sign_request
from tests.sim.harness.pool import ENDLESS, Pool
from tests.sim.world.machine import Machine
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS

SECRET = b"correct horse battery staple 0123456789"
FIRST_REQUEST = 5_000


def spellings(value: bytes) -> tuple[bytes, ...]:
    """A value as it might stand somewhere: as it is, in Base64 at each offset, in hex."""
    parts = []
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + value)
        parts.append(text[4 if offset else 0 : -4])
    return (value, value.hex().encode(), value.hex().upper().encode(), *parts)


class SecretTasks:
    """Submits to one pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.number = pool, FIRST_REQUEST

    def submit(
        self,
        at: int,
        to: Iterable[int],
        value: bytes = SECRET,
        policy: RecipientPolicy = ANYONE,
        blob: bytes | None = None,
        **spec: object,
    ) -> int:
        """A task whose key is sealed to these machines. `blob`: another one to send with it."""
        given = {"name": f"t-{self.number}", "image": "i", "command": ENDLESS} | spec
        owner = self._owner()
        sealed = self._sealed(owner, to, value, policy)
        text = spec_json(TaskSpec(**given, secrets=sealed.secrets))  # type: ignore[arg-type]
        return self._send(at, Action.SUBMIT, "", text, owner, blob or sealed.blob)

    def renew(
        self, at: int, task: TaskId, to: Iterable[int], value: bytes, *, restart: bool
    ) -> int:
        """Other secrets for a task."""
        owner = self._owner()
        sealed = self._sealed(owner, to, value, ANYONE)
        text = renewal_json(secrets_table(sealed.secrets), restart=restart)
        return self._send(at, Action.SET_SECRET, task.hex(), text, owner, sealed.blob)

    def copy_of(self, at: int, secrets: TaskSecrets, blob: bytes | None) -> int:
        """A task of the same account that names another task's blob as its own."""
        spec = TaskSpec(f"t-{self.number}", "i", command=ENDLESS, secrets=secrets)
        return self._send(at, Action.SUBMIT, "", spec_json(spec), self._owner(), blob)

    def _owner(self) -> SecretOwner:
        self.number += 1
        return SecretOwner(POOL, MANAGER_ADDRESS, self.number.to_bytes(32, "big"))

    def _sealed(
        self, owner: SecretOwner, to: Iterable[int], value: bytes, policy: RecipientPolicy
    ) -> SealedSecrets:
        machines = [self.pool.world.machines[number] for number in to]
        recipients = [(m.node_id, m.peer_key) for m in machines]
        return seal([SecretValue("db", value, True, "DB")], owner, recipients, policy)

    def _send(
        self,
        at: int,
        action: Action,
        target: str,
        text: str,
        owner: SecretOwner,
        blob: bytes | None,
    ) -> int:
        now_s = (WALL_MS + self.pool.world.now_ms) // 1000
        name = owner.request_id
        request = TaskRequest(action, POOL.pool_id, target, text, name, now_s - 1, now_s + 600)
        signed = sign_request(POOL, MANAGER, request)
        self.pool.signed[self.number] = signed
        self.pool.submitted[self.number] = task_id(POOL, request)
        command = SubmitCommand(signed, MANAGER_ADDRESS, blob)
        asked = inputs.Asked(self.number, command, Signers(MANAGER_ADDRESS))
        self.pool.world.give(self.pool.world.machines[at], asked)
        return self.number

    def run(self, at: int, to: Iterable[int], **given: object) -> TaskId:
        """Submit, and wait until all copies run."""
        name = self.task(self.submit(at, to, **given))  # type: ignore[arg-type]
        wanted = given.get("replicas", 1)
        self.pool.until(lambda: self.pool.states(name) == ["RUNNING"] * wanted)  # type: ignore[operator]
        return name

    def task(self, number: int) -> TaskId:
        """The task of a request."""
        return self.pool.submitted[number]

    # --- what there is --------------------------------------------------------------------------

    def got(self, name: TaskId) -> dict[int, list[bytes]]:
        """By machine, the values in the copies of a task that run there."""
        found: dict[int, list[bytes]] = {}
        for m in self.pool.world.machines:
            for key, status in sorted(m.engine.containers.items()):
                sealed = m.engine.secrets.get(key)
                if status.ended or key[0].task_id != name or sealed is None:
                    continue
                opened = SecretOpener(m.signing_key).open(sealed)
                found.setdefault(m.number, []).extend(one.value for one in opened.values)
        return found

    def holding(self, digest: Digest) -> list[int]:
        """The machines that have a blob on their disks."""
        return [m.number for m in self.pool.world.machines if digest in blobs_on(m)]

    def reasons(self, name: TaskId) -> list[str]:
        """Why a task's copies are as they are, by the leader."""
        state = self.pool.node(self.pool.leader().number).context.pool_log.state
        assert state is not None
        return [copy.reason for copy in state.of_task(name)]


def blobs_on(m: Machine) -> tuple[Digest, ...]:
    """The blobs on a machine's disk."""
    return tuple(Digest(key) for key in m.disk.tables["secret_blobs"])


def disk_bytes(m: Machine) -> bytes:
    """All that a machine's disk has."""
    disk = m.disk
    rows = [row for table in disk.tables.values() for pair in table.items() for row in pair]
    bodies = [entry.body for entry in disk.entries.values()]
    return b"\0".join([*rows, *bodies, disk.snapshot or b""])


EACH_ALONE = (PublishedPort(80, 8080),)
"""A port that keeps two copies from one machine."""


@attrs.define
class Overheard:
    """All bytes between machines, and who sent them."""

    said: list[tuple[int, bytes]] = attrs.field(factory=list)

    @classmethod
    def of(cls, pool: Pool) -> "Overheard":
        """From now on."""
        made = cls()
        pool.world.on_bytes.append(lambda m, to, channel, data: made.said.append((m.number, data)))
        return made
