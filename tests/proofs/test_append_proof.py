"""What a sealed append proves by itself, and that no honest leader is ever proven to lie."""

import attrs
import pytest

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import encode_body, encode_configuration
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address
from p2pool.model.log.entries import LevelRaised, Noop, RequestApplied, Setting
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from p2pool.model.messages.raft import AppendRequested
from p2pool.proofs.append_proof import CommitteeAt, Recover, flaw
from tests.raft.harness.cluster import LOG_ID, voter

A, B, C, D, E = (voter(n) for n in range(5))
THREE = Configuration((A, B, C), (D, E))
JOINT = Configuration((A, B, D), (E,), (A, B, C))
TERM = 5
CERTIFIED = CommitteeAt(7, (A, B, C))


def change(index: int, wanted: Configuration, term: int = TERM) -> Entry:
    kind = EntryKind.CONFIGURATION
    return Entry(index, term, kind, 0, encode_struct(wanted, DISTRUST_LEVEL))


def noop(index: int, term: int = TERM) -> Entry:
    return Entry(index, term, *_at(0, encode_body(Noop(A.node_id))))


def _at(at_ms: int, made: tuple[int, bytes]) -> tuple[int, int, bytes]:
    return made[0], at_ms, made[1]


def frame(*entries: Entry, after: int = 7) -> AppendRequested:
    return AppendRequested(LOG_ID, TERM, A, B, after, TERM, after, 1, entries)


GARBAGE = Entry(8, TERM, EntryKind.CONFIGURATION, 0, b"garbage")


@pytest.mark.parametrize(
    "entries",
    [
        (GARBAGE,),
        (attrs.evolve(GARBAGE, kind=EntryKind.REQUEST),),
        (noop(8), attrs.evolve(GARBAGE, index=9)),
        (change(8, Configuration(())),),
        (change(8, Configuration((A, A))),),
        (change(8, Configuration((D,), (), (A, B, C))),),
        (change(8, THREE, TERM - 1), change(9, Configuration((A,)))),
        (change(8, THREE), noop(9), change(10, Configuration((A, B, C, voter(7)), (D, E)))),
        (change(8, JOINT), change(9, THREE)),
    ],
)
def test_an_entry_that_nobody_honest_writes_proves_itself(entries: tuple[Entry, ...]) -> None:
    """Garbage, no committee, or a step that the frame itself shows to be none."""
    found = flaw(frame(*entries))
    assert found is not None
    assert found.index == entries[-1].index
    assert found.reason


@pytest.mark.parametrize("wanted", [Configuration((A,)), Configuration((D,), (), (A, B, D))])
def test_the_leaders_own_word_shows_the_committee_before(wanted: Configuration) -> None:
    """It takes the committee in one entry, right after it has certified another one."""
    assert flaw(frame(change(8, wanted)), CERTIFIED) is not None
    assert flaw(frame(noop(7), noop(8), change(9, wanted), after=6), CERTIFIED) is not None


def test_what_the_frame_does_not_reach_is_not_judged() -> None:
    """Between the leader's word and the change there may have been others."""
    taken = change(9, Configuration((A,)))
    assert flaw(frame(taken, after=8), CERTIFIED) is None
    assert flaw(frame(taken, after=8)) is None
    assert flaw(frame(change(7, Configuration((A,))), after=6), CERTIFIED) is None


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (noop(8), noop(9)),
        (change(8, Configuration((A, B), (D, E))),),
        (change(8, JOINT), change(9, Configuration((A, B, D), (E,)))),
        (change(8, Configuration((A, B, C), (D,))), change(9, Configuration((A, B, C, D)))),
    ],
)
def test_what_honest_leaders_write_proves_nothing(entries: tuple[Entry, ...]) -> None:
    """Whatever they said before."""
    assert flaw(frame(*entries), CERTIFIED) is None
    assert flaw(frame(*entries)) is None


def test_a_former_leaders_entry_is_not_this_ones_lie() -> None:
    """A leader of an earlier version may hold it, and hands it on in good faith; what it writes
    after it goes by what it read there."""
    old = attrs.evolve(GARBAGE, term=TERM - 1)
    assert flaw(frame(old, change(9, Configuration((A,)))), CERTIFIED) is None
    empty = change(8, Configuration(()), TERM - 1)
    assert flaw(frame(empty, change(9, Configuration((A,)))), CERTIFIED) is None
    wrong = change(8, Configuration((A,)), TERM - 1)
    assert flaw(frame(wrong, noop(9)), CERTIFIED) is None
    after = flaw(frame(old, attrs.evolve(GARBAGE, kind=EntryKind.NODE, index=9)))
    assert after is None


def test_rules_that_versions_change_prove_nothing() -> None:
    """A setting, a level, a kind or a field that only a later version knows."""
    for record in (Setting("committee", "none"), LevelRaised(DISTRUST_LEVEL, "9")):
        assert flaw(frame(Entry(8, TERM, *_at(0, encode_body(record))))) is None
    kind, body = encode_configuration(THREE)
    later = bytes([body[0] + 5]) + body[1:] + b"\x01" * 5
    assert flaw(frame(Entry(8, TERM, 99, 0, b"junk"))) is None
    assert flaw(frame(Entry(8, TERM, kind, 0, later))) is None


def test_a_frame_with_gaps_proves_nothing() -> None:
    """It is refused for its form, and its entries are at no certain place."""
    assert flaw(frame(noop(8), attrs.evolve(GARBAGE, index=10))) is None
    assert flaw(frame(attrs.evolve(GARBAGE, term=TERM + 1))) is None


def asked(index: int, term: int = TERM) -> Entry:
    request = TaskRequest(Action.BAN, 1, "", "", bytes(32), 10, 20)
    signed = SignedRequest(request, bytes([index]) * 65)
    record = RequestApplied(signed, A.node_id, Address(b"m" * 20))
    return Entry(index, term, *_at(0, encode_body(record)))


def false_after(index: int) -> Recover:
    """Requests from an index on are in the name of somebody who did not sign them."""

    def recovers(signed: SignedRequest) -> Signers | None:
        return Signers(Address(b"m" * 20 if signed.signature[0] < index else b"o" * 20))

    return recovers


def test_a_request_in_a_false_name_proves_itself() -> None:
    """Anybody recovers who signed it; a former leader's is not this one's lie."""
    assert flaw(frame(asked(8)), None, false_after(9)) is None
    found = flaw(frame(noop(8), asked(9), asked(10)), None, false_after(10))
    assert found is not None
    assert found.index == 10
    assert "another account signed" in found.reason
    assert flaw(frame(asked(8, TERM - 1), noop(9)), None, false_after(0)) is None


def test_few_signatures_of_a_frame_are_looked_at() -> None:
    """To judge a claim of proof is not to cost more than it is worth."""
    many = [asked(8 + n) for n in range(limits.BAD_APPEND_SIGNATURES_MAX + 1)]
    last = many[-1].index
    assert flaw(frame(*many), None, false_after(last - 1)) is not None
    assert flaw(frame(*many), None, false_after(last)) is None
