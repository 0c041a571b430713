"""A machine on which starts keep failing says so, for a while; what its owner decided is no such
failure."""

from p2pool.core.worker.start_record import StartRecord
from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.ids import Address, TaskId
from p2pool.model.timing import Now

OWNER, DELEGATE, OTHER = (Address(bytes([number]) * 20) for number in (1, 2, 3))


def fail(
    record: StartRecord,
    code: str,
    count: int,
    now: Now,
    first: int = 0,
    by: Signers | None = None,
) -> None:
    for number in range(first, first + count):
        record.failed(code, "no runc", TaskId(number.to_bytes(16, "big")), by, now)


def test_it_is_out_for_a_while_that_doubles_until_a_start_works() -> None:
    """It comes back by itself, so that nobody has to say that it is mended."""
    record, at_ms, waits = StartRecord(), 1_000, []
    for _ in range(3):
        fail(record, "node-cannot-start", limits.STARTS_FAILED_MAX, Now(at_ms, at_ms))
        assert record.trouble == "starts keep failing here: no runc"
        assert record.out_until_ms is not None
        waits.append(record.out_until_ms - at_ms)
        record.tick(Now(record.out_until_ms - 1, 0))
        assert record.trouble is not None
        at_ms = record.out_until_ms
        record.tick(Now(at_ms, at_ms))
        assert record.trouble is None
    assert waits == [limits.OUT_OF_PLACEMENT_MIN_MS << n for n in range(3)]
    record.succeeded()
    for turn in range(3):
        first = turn * limits.STARTS_FAILED_MAX
        fail(record, "node-cannot-start", limits.STARTS_FAILED_MAX - 1, Now(at_ms, at_ms), first)
        assert record.trouble is None
        record.succeeded()


def test_one_task_or_the_owners_own_rules_are_no_broken_machine() -> None:
    """Else anybody's broken task, or an image that the owner does not take, would close it."""
    record, now = StartRecord(), Now(1_000, 1_000)
    for _ in range(9):
        fail(record, "node-cannot-start", 1, now)
    for code in ("image-refused", "registry-denied", "wrong-platform", "host-port-taken"):
        fail(record, code, 9, now, first=1)
    assert record.trouble is None


def test_a_delegate_alone_closes_no_machine() -> None:
    """Three images that no engine unpacks would close every machine of the pool, one by one."""
    record, now = StartRecord(), Now(1_000, 1_000)
    fail(record, "node-cannot-start", 9, now, by=Signers(DELEGATE, OWNER))
    assert record.trouble is None
    fail(record, "node-cannot-start", 9, now, first=9, by=Signers(OTHER, OWNER))
    assert record.trouble is None
    fail(record, "node-cannot-start", 1, now, first=18, by=Signers(OWNER))
    assert record.trouble is not None
