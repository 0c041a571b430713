"""A judge of work for `p2pool validator`: a piece is right if a file of ours lists its key.

A package offers it in its pyproject.toml, and is installed beside p2pool:

    [project.entry-points."p2pool.work_judges"]
    listed = "work_judge:make"

Then the policy says: [work] judge = "listed", options = { list = "/srv/keys.txt" }. Each line of
that file is a key, 64 hex digits, and the units that it is worth.
"""

from collections.abc import Mapping
from pathlib import Path

from p2pool.model.errors import Misconfigured
from p2pool.validator.judging.judge import SubmittedWork, WorkVerdict


class Listed:
    """Looks each piece up. What it raises is no verdict: the piece is asked about again later."""

    def __init__(self, path: Path) -> None:
        """`path`: the list. It is read anew for each piece, since it grows."""
        self.path = path

    def judge(self, work: SubmittedWork) -> WorkVerdict:
        """Right, wrong, or wrong for the part of the units that is too much."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        worth = {key: int(units) for key, units in lines}.get(work.key.hex())
        if worth is None:
            return WorkVerdict.wrong(f"{self.path.name} has no such key")
        if work.units <= worth:
            return WorkVerdict.right(f"{self.path.name} lists it for {worth} units")
        too_much = 1000 * (work.units - worth) // work.units
        return WorkVerdict.wrong(f"{self.path.name} lists it for {worth} units", max(1, too_much))


def make(options: Mapping[str, str]) -> Listed:
    """What the entry point names. `options`: of the policy, as they stand there."""
    if set(options) != {"list"}:
        raise Misconfigured("The judge 'listed' takes one option: list, a file.")
    return Listed(Path(options["list"]))
