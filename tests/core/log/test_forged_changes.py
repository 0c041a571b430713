"""What a lying leader asks its followers to append: no configuration but a permitted step."""

import attrs
import pytest

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import configuration_in, encode_configuration
from p2pool.core.raft.confchange import left, step_refusal
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from tests.raft.harness.cluster import voter

A, B, C, D, E = (voter(n) for n in range(5))
THREE = Configuration((A, B, C), (D, E))
JOINT = Configuration((A, B, D), (E,), (A, B, C))


@pytest.mark.parametrize(
    "wanted",
    [
        Configuration(()),
        Configuration((A,)),
        Configuration((D,), (), (A, B, C)),
        Configuration((A, D, E), (), (A, B, C)),
        Configuration((A, B, D), (E,), (A, B)),
        Configuration((A, B, D), (), (A, B, C)),
        Configuration((A, B, C), (D, E), (A, B, C)),
        Configuration((B, A, C), (D, E)),
        Configuration((A, B, C, C), (D, E)),
        Configuration((A, B, C, attrs.evolve(D, store_id=A.store_id)), (E,)),
        Configuration((A, B, C, voter(6)), (D, E)),
        Configuration((A, B, C, D), (C, E)),
    ],
)
def test_no_other_step_may_follow(wanted: Configuration) -> None:
    """The committee does not end, shrink or change hands in one entry."""
    assert step_refusal(THREE, wanted) is not None


@pytest.mark.parametrize(
    "wanted",
    [
        THREE,
        JOINT,
        Configuration((A, B), (D, E)),
        Configuration((A, B, C, D), (E,)),
        Configuration((A, B, C)),
        Configuration((A, B, C, D, E), (), (A, B, C)),
    ],
)
def test_these_may(wanted: Configuration) -> None:
    """Whatever an honest leader asks for."""
    assert step_refusal(THREE, wanted) is None


def test_a_joint_configuration_is_left_and_nothing_else() -> None:
    """Neither for the old committee nor by way of another change."""
    assert left(JOINT) == Configuration((A, B, D), (E,))
    assert step_refusal(JOINT, left(JOINT)) is None
    for wanted in (THREE, JOINT, Configuration((A, B, D)), Configuration((A, B), (E,))):
        assert step_refusal(JOINT, wanted) is not None


def test_a_body_that_nobody_can_follow_counts_for_nothing() -> None:
    """It is skipped by Raft and by the state alike, whatever committed it."""
    kind, body = encode_configuration(JOINT)
    assert configuration_in(Entry(3, 1, kind, 0, body)) == JOINT
    empty = encode_struct(Configuration(()), DISTRUST_LEVEL)
    for bad in (b"", b"\xff", body + b"\x00", empty):
        assert configuration_in(Entry(3, 1, EntryKind.CONFIGURATION, 0, bad)) is None
