"""What a lying leader asks its followers to append: no configuration but a permitted step, and no
change given up early."""

from functools import partial

import attrs
import pytest

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import configuration_in, encode_body, encode_configuration
from p2pool.core.fsm.committee_chain import extended
from p2pool.core.raft.state import Offer
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.log.configuration_steps import left, step_refusal
from p2pool.model.log.entries import ChangeCertified
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from p2pool.model.timing import Now
from p2pool.wire.enclosures import open_one
from tests.core.log.founded_log import POOL, founded
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


@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_no_change_is_given_up_before_its_time(level: FeatureLevel) -> None:
    """A follower refuses the leader's word for it; an old leader's log is taken as it is."""
    pool_log = founded()
    state, raft = pool_log.state, pool_log.raft
    assert state is not None
    assert raft is not None
    state.level, pool_log.opens = level, partial(open_one, POOL)
    state.chain = extended(state.chain, 1, (pool_log.me, E), 3, 1, 10_000)

    def why(at_ms: int) -> str | None:
        kind, body = encode_body(ChangeCertified(3, ()))
        entry, offer = Entry(5, 1, kind, at_ms, body), Offer(1, E, Now(at_ms, at_ms))
        refused = raft.state.entry_check(entry, offer)
        return refused.why if refused is not None else None

    late_ms = 10_000 + limits.VOTER_REPLACE_AFTER_MS
    early = why(late_ms - 1)
    assert early is None if level < DISTRUST_LEVEL else "before its time" in (early or "")
    assert why(late_ms) is None


def test_a_certificate_of_a_later_form_is_taken_as_other_entries_are() -> None:
    """Here it applies as nothing; whoever sends one ends no agent."""
    pool_log = founded()
    pool_log.opens = partial(open_one, POOL)
    body = canonical.encode([1, [], "more"])
    entry, offer = Entry(9, 1, EntryKind.CERTIFICATE, 0, body), Offer(1, A, Now(1, 1))
    assert pool_log._refusal(entry, offer) is None
