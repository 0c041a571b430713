"""Submitted work as tests state it, and judges of all manners."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from p2pool.drivers.chain.validator.work import Piece, PieceState
from p2pool.model.ids import Address, NodeId, PoolRef
from p2pool.validator.judging.judge import SubmittedWork, WorkVerdict
from p2pool.validator.judging.plugins import GROUP

POOL = PoolRef(31337, Address(b"c" * 20), 7)
NODE = NodeId(b"n" * 20)
PROVIDER = Address(b"p" * 20)


def piece(number: int = 1, **changes: Any) -> Piece:
    """A piece of the node, as the chain tells it."""
    made = Piece(
        key=bytes([number] * 32),
        provider=PROVIDER,
        node_id=NODE,
        units=12,
        block=100 + number,
        state=PieceState.SUBMITTED,
    )
    return attrs.evolve(made, **changes)


def work(number: int = 1, **changes: Any) -> SubmittedWork:
    """The same, as a judge gets it."""
    made = SubmittedWork(
        pool=POOL,
        node_id=NODE,
        provider=PROVIDER,
        key=bytes([number] * 32),
        units=12,
        block=100 + number,
    )
    return attrs.evolve(made, **changes)


ROOT = Path(__file__).resolve().parents[3]
BAD = """
def broken(options): raise RuntimeError("no luck")
def empty(options): return object()
"""


def install_judges(directory: Path) -> None:
    """A package with judges, as pip leaves it: the example of the documentation, and bad ones."""
    shutil.copy(ROOT / "docs" / "examples" / "work_judge.py", directory)
    (directory / "bad_judges.py").write_text(BAD)
    about = directory / "judges-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: judges\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        f"[{GROUP}]\nlisted = work_judge:make\nbroken = bad_judges:broken\n"
        "empty = bad_judges:empty\ngone = not_there:make\nre-execution = bad_judges:empty\n"
    )


@attrs.define
class Judge:
    """Answers by a function, and remembers what it was asked about."""

    says: Callable[[SubmittedWork], Any]
    asked: list[bytes] = attrs.field(factory=list)

    def judge(self, asked: SubmittedWork) -> WorkVerdict:
        """As the function says."""
        self.asked.append(asked.key)
        found: WorkVerdict = self.says(asked)
        return found
