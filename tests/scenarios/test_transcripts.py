"""Each transcript in this folder happens as it is written: Raft here, whole nodes in `pool/`."""

from pathlib import Path

import pytest

from tests.scenarios.harness import check
from tests.scenarios.poolwords import PoolWords
from tests.scenarios.raftwords import RaftWords

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("**/*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_transcript_happens_as_it_is_written(path: Path, rewrite: bool) -> None:
    """`--rewrite` writes down what happens now instead."""
    said = RaftWords() if path.parent == FOLDER else PoolWords()
    try:
        check(path, said.table(), rewrite=rewrite)
    finally:
        said.close()
