"""How often something is done before somebody else gets a turn: what keeps a loop, in counts."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Turns(trio.abc.Instrument):
    """Counts what is done in one turn of any task. `most`: in the longest; `total`: in all."""

    def __init__(self) -> None:
        self.total = self.most = self._now = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task gets its turn."""
        self._now = 0

    def did(self) -> None:
        """It was done."""
        self.total += 1
        self._now += 1
        self.most = max(self.most, self._now)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count from here on."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
