"""The steps from each schema of the store to the next, in their order.

A step that was released stays as it is: what it reads no longer changes, and what it writes is what
the next step reads. A new schema is a module here, a line in `STEPS`, and the golden disk of the
release before it (`tests/golden/disks`).
"""

from collections.abc import Callable

import apsw
import attrs

from p2pool.drivers.store.migrations import to_0_2_0
from p2pool.drivers.store.schema import SCHEMA_VERSION


@attrs.frozen
class Step:
    """One step: `before` and `after` are schemas, `of_release` and `to_release` the first versions
    of the program that wrote them. `run` changes the tables, inside a transaction."""

    before: int
    after: int
    of_release: str
    to_release: str
    run: Callable[[apsw.Connection], None]


STEPS: tuple[Step, ...] = (
    Step(before=1, after=2, of_release="0.1.0", to_release="0.2.0", run=to_0_2_0.run),
)
"""Each begins where the one before it ends."""


def steps_from(schema: int) -> tuple[Step, ...]:
    """The steps that lead from a schema to this version's; none where it is this version's."""
    return tuple(step for step in STEPS if step.before >= schema)


assert [step.before for step in STEPS] == list(range(1, SCHEMA_VERSION))
assert all(step.after == step.before + 1 for step in STEPS)
