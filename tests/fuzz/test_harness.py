"""The harness finds what it looks for: planted faults of each kind, and nothing where there is
none."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.model.errors import Malformed
from tests.fuzz import corpus, reach, target
from tests.fuzz.target import Target, examine

SLOW_STEPS = 2_000_000


def _planted(data: bytes) -> None:
    """A decoder with a fault of each kind."""
    if data == b"refused":
        raise Malformed("as it should be")
    if data == b"index":
        print([][len(data)])
    if data == b"slow":
        sum(math.sqrt(number) for number in range(SLOW_STEPS))
    if data == b"stuck":
        while True:
            pass
    if data == b"memory":
        bytearray(32 << 20)
    if data == b"law":
        assert data == b"", "not what was encoded"


def _none() -> Iterator[bytes]:
    return iter(())


PLANTED = Target("planted", _planted, _none, (Malformed,), 64, 50, 1, 1024, 16)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", None),
        (b"refused", None),
        (b"index", "IndexError at tests/fuzz/test_harness.py"),
        (b"slow", "slow"),
        (b"stuck", "stuck at tests/fuzz/test_harness.py"),
        (b"memory", "memory"),
        (b"law", "AssertionError at tests/fuzz/test_harness.py"),
    ],
)
def test_a_planted_fault_is_found(
    data: bytes, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors that nobody named, broken laws, slow, endless and greedy decoding are findings; a
    refusal that the target names is none."""
    monkeypatch.setattr(target, "STUCK_S", 1)
    told = examine(PLANTED, data, memory=True)
    assert (told is None) if found is None else (told is not None and found in told.signature)


def test_a_corpus_comes_back_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any bytes, printable or not, survive the file; inputs with a name come first."""
    monkeypatch.setattr(corpus, "CORPORA", tmp_path)
    inputs = {corpus.digest_name(data): data for data in (b"", b"\0\xff", b'a\r\n"\\', b" x")}
    inputs["named-fault"] = b'{"a": 1}'
    corpus.store("planted-what", inputs)
    assert corpus.load("planted-what") == inputs
    first = corpus.path_of("planted-what").read_text().splitlines()[0]
    assert first == 'named-fault "{\\"a\\": 1}"'


def test_the_fewest_inputs_that_reach_all_are_kept() -> None:
    """Of many inputs a corpus keeps those that reach what no other does, the shortest first."""
    spread = {b"long way": {1, 2, 3}, b"short": {1, 2}, b"other": {3}, b"in vain": {2}}
    assert reach.fewest(spread) == [b"short", b"other"]
