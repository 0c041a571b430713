"""What the commands of all transcripts share: `do_NAME` is NAME, and limits are put back."""

from p2pool.model import limits
from tests.scenarios.harness.transcript import Command


class Commands:
    """Commands by name, whose docstrings say how they are written."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}

    def table(self) -> dict[str, Command]:
        """What can be said, by its name in a transcript."""
        return {
            name.removeprefix("do_").replace("_", "-"): getattr(self, name)
            for name in dir(self)
            if name.startswith("do_")
        }

    def close(self) -> None:
        """Put limits back."""
        for name, value in self.limits.items():
            setattr(limits, name, value)

    def do_limit(self, given: list[str]) -> list[str]:
        """`limit DEAD_AFTER_MS 60000`: a bound of `model/limits.py`, for this transcript."""
        self.limits.setdefault(given[0], getattr(limits, given[0]))
        setattr(limits, given[0], int(given[1]))
        return []
