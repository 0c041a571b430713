"""What a worker makes of secrets that were set since a copy's submission."""

import attrs
import pytest

from p2pool.client.secrets import secrets_table
from p2pool.codec.spec.secrets import renewal_json
from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.access.verdicts import Validity, Verdict
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, AllocationId, Token
from p2pool.model.messages.work import Desired, Order
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.states import AllocationState, StartRefusal
from p2pool.model.tasks.secrets import SealedKey, SecretBlob, SecretOwner, SecretUse, TaskSecrets
from p2pool.model.timing import Now
from tests.core.worker.workbench import ME, Bench, desired

S = AllocationState
OWNER, SETTER = Signers(Address(b"o" * 20)), Signers(Address(b"s" * 20))
CONTRACT = Address(b"C" * 20)


def secrets(number: int) -> TaskSecrets:
    return TaskSecrets((SecretUse("db"),), f"{number:02x}" * 32, 5)


class SecretBench(Bench):
    """A worker that opens all secrets at once, or none, and remembers who asked."""

    def start(self) -> None:
        super().start()
        self.denied: str | None = None
        self.lacks: str | None = None
        self.asked: list[tuple[Signers | None, Signers | None]] = []
        self.opened: list[tuple[TaskSecrets, SecretOwner]] = []
        self.worker.level = DISTRUST_LEVEL
        self.worker.secrets_allowed = self._allowed
        self.worker.open_secrets = self._open

    def _allowed(
        self, d: Desired, by: Signers | None, owner: Signers | None, at: int
    ) -> str | None:
        self.asked.append((by, owner))
        return self.denied

    def _open(
        self, name: AllocationId, attempt: int, which: TaskSecrets, owner: SecretOwner, now: Now
    ) -> SealedSecret | str:
        self.opened.append((which, owner))
        if self.lacks is not None:
            return self.lacks
        blob = SecretBlob(bytes(limits.SECRET_NONCE_BYTES), b"")
        return SealedSecret(
            secrets=which,
            owner=owner,
            blob=blob,
            key=SealedKey(ME, b"p" * 32, b"k"),  # type: ignore[arg-type]
        )

    def give(self, one: Desired) -> bool:
        """An order, with who signed what."""
        self.index += 1
        renewers = (SETTER,) if one.secrets is not None else ()
        order = Order(ME, Token(1, 1, self.index), (one,), ())
        return self.worker.obey(order, (OWNER, *renewers), self.now()).ok


def with_secrets() -> Desired:
    return desired(secrets=secrets(0))


def renewed(one: Desired, number: int = 1, contract: Address | None = None) -> Desired:
    text = renewal_json(secrets_table(secrets(number)), restart=False)
    name = one.allocation.task_id.hex()
    request = TaskRequest(Action.SET_SECRET, 1, name, text, bytes([number]) * 32, 0, 600)
    return attrs.evolve(one, secrets=SignedRequest(request, b"z" * 65, contract=contract))


def starts(done: list[ev.WorkerEffect]) -> int:
    return sum(isinstance(effect, ev.StartContainer) for effect in done)


def test_who_submitted_it_is_named_to_who_judges() -> None:
    """A node's log may not have the task yet, whose owner may set its secrets."""
    bench = SecretBench()
    bench.give(renewed(with_secrets()))
    assert bench.asked == [(SETTER, OWNER)]
    assert starts(bench.turn()) == 1
    which, owner = bench.opened[-1]
    assert (which, owner.account) == (secrets(1), SETTER.signer)


def test_a_copy_with_secrets_that_do_not_count_goes_elsewhere() -> None:
    """It has not failed for good: this node may be the one that does not know yet who rules."""
    bench = SecretBench()
    bench.denied = "no right"
    one = renewed(with_secrets())
    bench.give(one)
    assert starts(bench.turn()) == 0
    item = bench.worker.items[one.allocation, one.attempt]
    assert (item.state, item.refused) == (S.STOPPED, StartRefusal.LASTING)
    assert item.reason == "not allowed: no right"


def test_what_is_here_keeps_what_it_has() -> None:
    """Whatever came of a request without the right to it, also over a restart of the agent, and
    where a listing showed the copy before its order came."""
    bench = SecretBench()
    one = with_secrets()
    bench.give(one)
    assert starts(bench.turn()) == 1
    bench.denied = "no right"
    bench.give(renewed(one))
    assert bench.state(one) is S.RUNNING
    bench.rows["orders"].clear()
    bench.start()
    bench.turn()
    bench.denied = "no right"
    bench.give(renewed(one))
    bench.turn()
    bench.start()
    item = bench.worker.items[one.allocation, one.attempt]
    assert item.secrets == secrets(0)
    assert item.secret_owner(bench.worker.scope.pool).account == OWNER.signer


def test_what_a_contract_set_waits_for_the_chain() -> None:
    """As its submission would, also over a restart; a copy that runs goes on with what it has."""
    bench = SecretBench()
    one = renewed(with_secrets(), contract=CONTRACT)
    bench.give(one)
    assert starts(bench.turn()) == 0
    bench.start()
    assert starts(bench.turn(1_000)) == 0
    bench.verdict = Verdict(Validity.VALID)
    assert starts(bench.turn(1_000)) == 1
    bench.verdict = None
    bench.give(renewed(one, 2, CONTRACT))
    bench.turn(1_000)
    assert bench.state(one) is S.RUNNING


def test_what_a_contract_did_not_set_is_refused() -> None:
    """By the word of this node's endpoints."""
    bench = SecretBench()
    bench.verdict = Verdict(Validity.INVALID, "it did not sign")
    one = renewed(with_secrets(), contract=CONTRACT)
    bench.give(one)
    assert starts(bench.turn()) == 0
    item = bench.worker.items[one.allocation, one.attempt]
    assert (item.state, item.refused) == (S.STOPPED, StartRefusal.LASTING)


@pytest.mark.parametrize("well", [True, False])
def test_nothing_lacks_secrets_while_the_engine_is_away(well: bool) -> None:
    """Else whoever asks for keys would be due again and again, at once."""
    bench = SecretBench()
    bench.lacks = "nobody has sealed them"
    bench.give(with_secrets())
    bench.turn()
    assert bench.worker.lacks_secrets
    bench.worker.runtime(well)
    bench.turn(1_000)
    assert bool(bench.worker.lacks_secrets) is well
