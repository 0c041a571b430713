"""A contract account gives its tasks secrets, and sets them anew; nobody else does in its name."""

import attrs
from eth_account.signers.local import LocalAccount

from p2pool.agent.containers.secret_opener import SecretOpener
from p2pool.client.secrets import SealedSecrets, seal, secrets_table
from p2pool.codec.digests import digest, task_id
from p2pool.codec.spec.secrets import renewal_json
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.core.worker.attempt import Attempt
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.access.verdicts import Validity
from p2pool.model.errors import BadSignature
from p2pool.model.ids import TaskId
from p2pool.model.ports.agent import Accepted, SubmitCommand
from p2pool.model.tasks.secrets import SecretOwner, SecretValue
from p2pool.model.tasks.spec import TaskSpec
from p2pool.wire.typed_data import recover_signers
from tests.sim.harness.contract_pool import CONTRACT, OWNER, THIEF, Managed, managed
from tests.sim.harness.pool import ENDLESS
from tests.sim.harness.secret_tasks import blobs_on
from tests.sim.world.world import POOL

OLD, NEW = b"the first of two secrets", b"the second of two secrets"


@attrs.define
class Vault:
    """The contract's tasks with secrets."""

    made: Managed

    def sealed(self, request: TaskRequest, value: bytes) -> SealedSecrets:
        owner = SecretOwner(POOL, CONTRACT, request.request_id)
        to = [(m.node_id, m.peer_key) for m in self.made.world.machines]
        return seal([SecretValue("db", value, True, "DB")], owner, to)

    def submission(
        self, value: bytes = OLD, by: LocalAccount = OWNER, replicas: int = 1
    ) -> tuple[SignedRequest, bytes]:
        request = self.made.request(Action.SUBMIT)
        sealed = self.sealed(request, value)
        name = f"t-{self.made.asked}"
        spec = TaskSpec(name, "i", command=ENDLESS, replicas=replicas, secrets=sealed.secrets)
        request = attrs.evolve(request, spec_json=spec_json(spec))
        return self.made.signed(request, by), sealed.blob

    def renewal(
        self, task: TaskId, value: bytes = NEW, by: LocalAccount = OWNER
    ) -> tuple[SignedRequest, bytes]:
        request = self.made.request(Action.SET_SECRET, task.hex())
        sealed = self.sealed(request, value)
        text = renewal_json(secrets_table(sealed.secrets), restart=True)
        return self.made.signed(attrs.evolve(request, spec_json=text), by), sealed.blob

    def ask(self, at: int, signed: SignedRequest, blob: bytes) -> object:
        self.made.asked += 1
        signers = recover_signers(POOL, signed)
        command = SubmitCommand(signed, signers.signer, blob)
        machine = self.made.world.machines[at]
        self.made.world.give(machine, inputs.Asked(self.made.asked, command, signers))
        return self.made.pool.reply(self.made.asked)

    def run(self, replicas: int = 1) -> TaskId:
        signed, blob = self.submission(replicas=replicas)
        assert isinstance(self.ask(0, signed, blob), Accepted)
        name = task_id(POOL, signed.request)
        self.made.pool.until(lambda: self.made.pool.states(name) == ["RUNNING"] * replicas)
        return name

    def got(self, name: TaskId) -> list[bytes]:
        found: list[bytes] = []
        for m in self.made.world.machines:
            for key, status in m.engine.containers.items():
                if not status.ended and key[0].task_id == name:
                    opened = SecretOpener(m.signing_key).open(m.engine.secrets[key])
                    found += [one.value for one in opened.values]
        return found

    def item(self, name: TaskId) -> tuple[int, Attempt]:
        for m in self.made.world.machines:
            for item in self.made.pool.node(m.number).parts.worker.items.values():
                if item.allocation.task_id == name and not item.ended:
                    return m.number, item
        raise AssertionError(name)


def test_what_it_sets_anew_reaches_all_copies() -> None:
    """Each node asks the chain about both requests, at the blocks that its log names."""
    vault = Vault(managed())
    name = vault.run(replicas=2)
    assert vault.got(name) == [OLD, OLD]
    assert isinstance(vault.ask(1, *vault.renewal(name)), Accepted)
    vault.made.pool.until(lambda: vault.got(name) == [NEW, NEW], 180_000)
    _, item = vault.item(name)
    assert item.desired is not None
    assert item.desired.secrets_judged_at is not None
    assert not item.secrets_unjudged


def test_nobody_else_sets_them_in_its_name() -> None:
    """The chain says no; and no voter's disk holds what it was said to bring."""
    vault = Vault(managed())
    name = vault.run()
    leader = vault.made.pool.leader().number
    for signed, blob in (vault.renewal(name, by=THIEF), vault.submission(by=THIEF)):
        assert isinstance(vault.ask(leader, signed, blob), BadSignature)
        holding = [m.number for m in vault.made.world.machines if digest(blob) in blobs_on(m)]
        assert holding in ([], [leader])
    assert vault.got(name) == [OLD]


def test_a_node_takes_no_leaders_word_for_it() -> None:
    """An order with secrets that the contract did not set is none that the node's log has; one with
    another block than its log's is refused."""
    vault = Vault(managed())
    name = vault.run()
    assert isinstance(vault.ask(1, *vault.renewal(name)), Accepted)
    vault.made.pool.until(lambda: vault.got(name) == [NEW], 180_000)
    number, item = vault.item(name)
    node, machine = vault.made.pool.node(number), vault.made.world.machines[number]
    judged, now = node.parts.worker.judged, vault.made.world.now(machine)
    assert item.desired is not None
    good = judged(item.desired, now)
    assert good is not None
    assert good.validity is Validity.VALID
    other = attrs.evolve(item.desired, secrets_judged_at=None)
    bad = judged(other, now)
    assert bad is not None
    assert bad.validity is Validity.INVALID
    forged, _ = vault.renewal(name, by=THIEF)
    assert judged(attrs.evolve(item.desired, secrets=forged), now) is None
