"""Proofs against voters on the disk: each in the oldest shape that says it, a few of each voter."""

import attrs
import pytest

from p2pool.codec.cbor.structs import decode_struct
from p2pool.core.knowledge.kept_proofs import KeptProofs
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.log.certificates import Evidence
from p2pool.model.ports.store import Delete, Put
from tests.wire.committee import A, B, C, lies

LIES = {name: one for name, one in lies().items() if isinstance(one, Evidence)}


def book(most: int = limits.EVIDENCE_KEPT_MAX) -> KeptProofs[Evidence]:
    return KeptProofs("evidence", Evidence, lambda: most)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("vote", BASE_LEVEL),
        ("certificate", BASE_LEVEL),
        ("history", DISTRUST_LEVEL),
        ("change", DISTRUST_LEVEL),
    ],
)
def test_an_earlier_version_reads_what_it_knows(kind: str, level: int) -> None:
    """A row has the level of its shape: who goes back to a version before that refuses the disk
    only for a proof that there was none of."""
    (put,) = book().keep(LIES[kind])
    assert isinstance(put, Put)
    assert put.version == level
    assert decode_struct(Evidence, put.value) == LIES[kind]
    again = book()
    again.restore([put.value, b"garbage"])
    assert list(again.by_name.values()) == [LIES[kind]]


def test_each_voter_has_its_own_room_and_term() -> None:
    """A second proof of one term is none more; what is displaced goes from the disk as well."""
    kept = book(most=limits.EVIDENCE_PER_VOTER_MAX + 1)
    for term in range(2 * limits.EVIDENCE_PER_VOTER_MAX):
        kept.keep(attrs.evolve(LIES["vote"], term=term))
    assert len(kept.by_name) == limits.EVIDENCE_PER_VOTER_MAX
    assert kept.keep(attrs.evolve(LIES["history"], term=0)) == ()
    for other in (A, B):
        written = kept.keep(attrs.evolve(LIES["history"], voter=other.voter))
    assert [type(one) for one in written] == [Put, Delete]
    assert {one.voter for one in kept.by_name.values()} == {A.voter, B.voter, C.voter}
