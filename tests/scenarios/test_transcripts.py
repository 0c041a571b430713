"""Each transcript happens as it is written: of Raft in `raft/`, of whole nodes in `pool/`."""

from pathlib import Path

import pytest

from tests.scenarios.harness.pool_commands import PoolCommands
from tests.scenarios.harness.raft_commands import RaftCommands
from tests.scenarios.harness.transcript import check

RAFT = Path(__file__).with_name("raft")
FILES = sorted(RAFT.parent.glob("*/*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_transcript_happens_as_it_is_written(path: Path, rewrite: bool) -> None:
    """`--rewrite` writes down what happens now instead."""
    said = RaftCommands() if path.parent == RAFT else PoolCommands()
    try:
        check(path, said.table(), rewrite=rewrite)
    finally:
        said.close()
