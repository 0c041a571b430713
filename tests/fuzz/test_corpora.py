"""What the decoders have been fuzzed with: each input that ever reached something new, or showed a
fault, is decoded again."""

import pytest

from tests.fuzz import corpus
from tests.fuzz.target import Target, examine
from tests.fuzz.targets.registered import targets

PATIENCE = 4
"""Another process may slow even our own CPU time down."""

TARGETS = sorted(targets().values(), key=lambda one: one.name)


@pytest.mark.parametrize("one", TARGETS, ids=lambda one: one.name)
def test_no_input_of_the_corpus_shows_a_fault(one: Target) -> None:
    """Every input is taken or refused as its target says, in the time and memory that it may take;
    inputs with a name showed a fault once, and have their memory measured."""
    for data in one.seeds():
        assert examine(one, data, patience=PATIENCE) is None, data
    for name, data in corpus.load(one.name).items():
        named = not corpus.is_digest(name, data)
        assert examine(one, data, patience=PATIENCE, memory=named) is None, name


@pytest.mark.parametrize("one", TARGETS, ids=lambda one: one.name)
def test_a_corpus_stays_small(one: Target) -> None:
    """A file that everybody checks out holds few inputs, and each stands there once."""
    found = corpus.load(one.name)
    others = [data for name, data in found.items() if corpus.is_digest(name, data)]
    assert len(found) <= corpus.INPUTS_MAX
    assert sum(map(len, others)) <= corpus.CORPUS_MAX_BYTES
    assert len(set(found.values())) == len(found)


def test_no_corpus_is_left_without_its_target() -> None:
    """A corpus whose target is gone would never be run again, without a word."""
    named = {one.name for one in TARGETS}
    kept = {path.stem for path in corpus.CORPORA.rglob("*.txt")}
    assert kept <= named
