"""How often this node lets itself be challenged: by one validator, and by all of them.

Intuition: a challenge takes the GPUs for a minute, in which nobody pays for them. So each validator
has its turn and a pause after it, and all together have a number of turns in an hour.

Invariants: what is refused counts for nothing; the tables are bounded, and what falls out of them
is older than what stays. Time is an argument.
"""

from collections import deque

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Address

HOUR_MS = 3_600_000


@attrs.define
class ChallengeRate:
    """The turns that were taken. `apart_ms`: between two of one validator; `per_hour`: of all."""

    apart_ms: int
    per_hour: int
    _last: BoundedDict[Address, int] = attrs.field(
        factory=lambda: BoundedDict(limits.VALIDATORS_KNOWN_MAX)
    )
    _begun: deque[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._begun = deque(maxlen=self.per_hour)

    def next_ms(self, validator: Address, now_ms: int) -> int:
        """From when on a validator may begin: now, or later."""
        last = self._last.get(validator)
        due_ms = [now_ms] if last is None else [now_ms, last + self.apart_ms]
        if len(self._begun) == self.per_hour:
            due_ms.append(self._begun[0] + HOUR_MS)
        return max(due_ms)

    def begin(self, validator: Address, now_ms: int) -> None:
        """A validator's turn begins."""
        self._last.renew(validator, now_ms)
        self._begun.append(now_ms)
