"""What is fuzzed: functions from bytes to nothing, and what counts as a finding.

A target hands bytes of a stranger to one decoder. It names the errors with which the decoder may
refuse them, and asserts the laws that hold for what the decoder takes: decoding what was encoded
gives the same, a canonical form is the only one. A finding is any other exception, an input that
takes too long for its length, and one that takes too much memory for it.

Time is CPU time of this thread, and an input is too slow only if it is so three times in a row.
"""

import signal
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

Run = Callable[[bytes], object]
Seeds = Callable[[], Iterator[bytes]]

ROOT = Path(__file__).resolve().parents[2]
KIB = 1024
STUCK_S = 20
TRIES = 3


class Stuck(BaseException):
    """An input used up the CPU time after which nobody waits for it; no decoder catches this."""


@attrs.frozen
class Target:
    """A decoder and what may come of it. `time_ms` and `memory_kib` are what any input may take,
    `us_per_byte` and `memory_per_byte` what it may take beyond that by its length."""

    name: str
    run: Run
    seeds: Seeds
    allowed: tuple[type[Exception], ...]
    most_bytes: int
    time_ms: int
    us_per_byte: int
    memory_kib: int
    memory_per_byte: int
    guided: bool = True
    """Whether inputs are bytes to be changed where that reaches more. Else they only say which
    choices a target makes: any will do, and being guided would cost more than it gains."""

    def time_s(self, size: int) -> float:
        """CPU time that an input of this size may take."""
        return self.time_ms / 1000 + size * self.us_per_byte / 1e6

    def memory_bytes(self, size: int) -> int:
        """Memory that an input of this size may take at once."""
        return self.memory_kib * KIB + size * self.memory_per_byte


@attrs.frozen
class Finding:
    """What is wrong with a decoder. `signature` is the same for inputs that show the same fault."""

    signature: str
    told: str


REGISTERED: dict[str, Target] = {}


def target(
    name: str,
    *,
    seeds: Seeds,
    allowed: Sequence[type[Exception]],
    most_bytes: int = 4 * KIB,
    time_ms: int = 250,
    us_per_byte: int = 40,
    memory_kib: int = 2 * KIB,
    memory_per_byte: int = 256,
    guided: bool = True,
) -> Callable[[Run], Run]:
    """Register a function as a target."""

    def register(run: Run) -> Run:
        assert name not in REGISTERED, name
        REGISTERED[name] = Target(
            name=name,
            run=run,
            seeds=seeds,
            allowed=tuple(allowed),
            most_bytes=most_bytes,
            time_ms=time_ms,
            us_per_byte=us_per_byte,
            memory_kib=memory_kib,
            memory_per_byte=memory_per_byte,
            guided=guided,
        )
        return run

    return register


def examine(one: Target, data: bytes, *, patience: int = 1, memory: bool = False) -> Finding | None:
    """What an input shows to be wrong; None if nothing. `patience`: so many times the target's time
    is allowed. `memory`: measure that too, which is slow."""
    allowed_s = patience * one.time_s(len(data))
    took_s = allowed_s + 1
    for _ in range(TRIES):
        began_s = time.thread_time()
        if (found := run_once(one, data)) is not None:
            return found
        took_s = time.thread_time() - began_s
        if took_s <= allowed_s:
            break
    if took_s > allowed_s:
        return Finding("slow", f"{len(data)} bytes take {took_s:.2f} s of CPU, not {allowed_s:.2f}")
    return _memory(one, data) if memory else None


def run_once(one: Target, data: bytes) -> Finding | None:
    """Run a target on an input under an alarm."""
    before = signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, STUCK_S)
    try:
        one.run(data)
    except one.allowed:
        return None
    except Stuck as stuck:
        place = _place(stuck.__traceback__)
        return Finding(f"stuck at {place}", f"{len(data)} bytes take more than {STUCK_S} s of CPU")
    # Whatever a decoder raises that its target does not name is what we look for.
    except Exception as error:  # noqa: BLE001
        return finding_of(error)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return None


def finding_of(error: BaseException) -> Finding:
    """The finding that an exception is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place, kind = _place(error.__traceback__), type(error).__name__
    return Finding(f"{kind} at {place}", f"{kind}: {str(error)[:200]} ({place})")


def _memory(one: Target, data: bytes) -> Finding | None:
    """Whether an input takes too much memory, measured in a run of its own."""
    tracemalloc.start(1)
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run_once(one, data)
        took = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    most = one.memory_bytes(len(data))
    if took <= most:
        return None
    return Finding("memory", f"{len(data)} bytes take {took // KIB} KiB, not {most // KIB}")


def _give_up(number: int, frame: types.FrameType | None) -> None:
    raise Stuck


def _place(traceback: types.TracebackType | None) -> str:
    """The innermost line of this program, else of whatever it called, where something happened."""
    ours = last = "nowhere"
    while traceback is not None and traceback.tb_frame.f_code is not _give_up.__code__:
        path = Path(traceback.tb_frame.f_code.co_filename)
        last = f"{path.name}:{traceback.tb_lineno}"
        if path.is_relative_to(ROOT):
            ours = f"{path.relative_to(ROOT)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return ours if ours.endswith(last) else f"{ours} > {last}"
