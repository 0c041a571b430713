"""Whether starts keep failing on this machine, so that it takes itself out of placement.

Intuition: one refused task says little of a machine. Failed starts of several tasks in a row, and
none that worked, say that it is broken: it reports itself unhealthy with the reason, and gets
nothing new. After a while it takes work again, since nobody may be there to say that it is mended.

Invariants: what its owner decided (registries, logins, a platform) is no failure of the machine; a
start that works clears the record; the state has a deadline, which doubles each time up to a bound.
All tasks of one delegate count as one: an image that no engine unpacks fails on every machine, and
who may only submit must not take a pool out of placement with three of them.
Source: docs/design/tasks.md, "Whose fault a failed start is".
"""

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.errors import (
    DiskFull,
    NodeCannotStart,
    NoGpuSupport,
    RuntimeUnavailable,
    StoreFailed,
)
from p2pool.model.ids import Address, TaskId
from p2pool.model.timing import Now

OF_THE_MACHINE = frozenset(
    cls.code for cls in (DiskFull, NodeCannotStart, NoGpuSupport, RuntimeUnavailable, StoreFailed)
)


@attrs.define
class StartRecord:
    """The failed starts since the last one that worked. `trouble`: why no work should come here."""

    failures: dict[TaskId | Address, None] = attrs.field(factory=dict)
    times_out: int = 0
    out_until_ms: int | None = None
    trouble: str | None = None

    def failed(
        self, code: str, message: str, task: TaskId, signers: Signers | None, now: Now
    ) -> None:
        """This machine gave up a start of a task that these submitted."""
        if code not in OF_THE_MACHINE or self.trouble is not None:
            return
        self.failures[task if signers is None or signers.grantor is None else signers.signer] = None
        if len(self.failures) < limits.STARTS_FAILED_MAX:
            return
        wait_ms = limits.OUT_OF_PLACEMENT_MIN_MS << min(self.times_out, 20)
        self.out_until_ms = now.mono_ms + min(wait_ms, limits.OUT_OF_PLACEMENT_TOP_MS)
        self.times_out += 1
        self.trouble = f"starts keep failing here: {message}"
        self.failures = {}

    def succeeded(self) -> None:
        """A start worked."""
        self.failures, self.times_out = {}, 0
        self.out_until_ms = self.trouble = None

    def tick(self, now: Now) -> None:
        """Take work again once the time is over."""
        if self.out_until_ms is not None and now.mono_ms >= self.out_until_ms:
            self.out_until_ms = self.trouble = None
