"""A follower takes no leader's word for what an entry holds, and no frame ends it."""

from typing import Any

import attrs
import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.raft.raft import Raft
from p2pool.core.raft.state import EntryRefusal, Ready
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.log.raft import Configuration, Entry, EntryKind
from p2pool.model.messages.raft import AppendRequested
from tests.raft.harness.cluster import LOG_ID
from tests.raft.harness.figure2 import (
    ME,
    THREE,
    A,
    B,
    append,
    appended,
    ask,
    entry,
    give,
    made,
    voted,
)

GARBAGE = Entry(3, 3, EntryKind.CONFIGURATION, 0, b"garbage")


def holding() -> Raft:
    """A follower that has committed two entries of term 2, led by A in term 3."""
    raft = made(1, 2, term=3)
    give(raft, append(3, (2, 2), commit=2))
    assert raft.state.commit_index == 2
    return raft


def carrying(*entries: Entry, after: tuple[int, int] = (2, 2)) -> AppendRequested:
    return AppendRequested(LOG_ID, 3, A, ME, *after, 2, 1, entries)


def refused(raft: Raft, out: Ready) -> bool:
    """It kept what it had, said nothing, and told the node why."""
    kept = [e.term for e in raft.state.log.entries] == [1, 2]
    return kept and not out.send and not out.persist and len(out.doubted) == 1


@pytest.mark.parametrize(
    "frame",
    [
        carrying(entry(2, 3), after=(1, 1)),
        carrying(attrs.evolve(entry(2, 2), body=b"another"), after=(1, 1)),
        carrying(after=(2, 1)),
        carrying(GARBAGE),
        carrying(entry(3, 3), attrs.evolve(GARBAGE, index=4)),
    ],
    ids=["term", "body", "previous", "configuration", "second"],
)
def test_what_no_honest_leader_sends_is_refused(frame: AppendRequested) -> None:
    """A contradiction of what is committed, and a configuration that is none."""
    raft = holding()
    assert refused(raft, give(raft, frame))


def test_a_refused_leader_is_not_heard_in_its_term() -> None:
    """Its empty appends keep no follower from campaigning; its next term counts again."""
    raft = holding()
    give(raft, carrying(GARBAGE), 5_000)
    due_ms = raft.state.election_deadline_ms
    out = give(raft, append(3, (2, 2)), 5_500)
    assert not out.send
    assert (raft.state.leader, raft.state.election_deadline_ms) == (None, due_ms)
    assert appended(give(raft, append(4, (2, 2), 4), 5_600)).ok


def test_who_was_refused_is_not_elected_for_the_length_of_that_log() -> None:
    """It would lead in term after term, and be refused in each. Another candidate gets the vote,
    and so does this one with a log that ends before what was refused, or once that is certified."""
    first, second = A.node_id[0], B.node_id[0]
    for by, last, certified, granted in (
        (first, (3, 3), 2, False),
        (first, (9, 3), 2, False),
        (second, (3, 3), 2, True),
        (first, (2, 2), 2, True),
        (first, (3, 3), 3, True),
    ):
        raft = holding()
        give(raft, carrying(GARBAGE), 5_000)
        raft.state.certified_index = certified
        assert voted(give(raft, ask(4, last, by), 9_000)).granted is granted, (by, last)


def test_what_stands_before_the_end_of_a_refused_frame_counts() -> None:
    """A log that ends behind the refused entry holds it, wherever the frame ended."""
    raft = holding()
    give(raft, carrying(GARBAGE, *(entry(n, 3) for n in range(4, 7))), 5_000)
    assert not voted(give(raft, ask(4, (4, 3), A.node_id[0]), 9_000)).granted


def test_who_was_refused_for_a_reading_of_the_chain_may_be_elected() -> None:
    """The reading may have been wrong, and that log the only one that is whole: two of three would
    otherwise stand still for good, whatever is read later."""
    raft = holding()
    raft.state.entry_check = lambda entry, offer: EntryRefusal("no right", may_pass=True)
    give(raft, carrying(entry(3, 3)), 5_000)
    assert raft.state.doubted is not None
    assert voted(give(raft, ask(4, (3, 3), A.node_id[0]), 9_000)).granted


def test_what_a_quorum_certified_is_taken_as_it_is() -> None:
    """Voters of an earlier version let it in: it applies as nothing, here as there."""
    raft = holding()
    raft.state.certified_index = 3
    assert appended(give(raft, carrying(GARBAGE))).ok
    assert raft.state.configuration == THREE
    kept = raft.state.certified_index = 4
    assert refused_contradiction(raft, kept)


def refused_contradiction(raft: Raft, certified_index: int) -> bool:
    """Not even a certified index lets a leader replace what is committed here."""
    assert certified_index > 2
    out = give(raft, carrying(entry(2, 3), after=(1, 1)))
    return [e.term for e in raft.state.log.entries] == [1, 2, 3] and len(out.doubted) == 1


def test_a_certificate_for_the_refused_index_mends_it() -> None:
    """The leader is heard again in the same term."""
    raft = holding()
    give(raft, carrying(GARBAGE))
    raft.state.certified_index = 3
    assert appended(give(raft, carrying(GARBAGE))).ok


def test_two_entries_of_one_term_and_index_are_no_match() -> None:
    """Their leader lied to one of two followers: the later leader's entry replaces the other."""
    raft = made(1, 2, term=3)
    other = attrs.evolve(entry(2, 2), body=b"another")
    assert appended(give(raft, carrying(other, after=(1, 1)))).ok
    assert raft.state.log.at(2) == other


def test_a_log_with_a_configuration_that_is_none_is_restored() -> None:
    """The disk may hold one from before there was this check."""
    raft = made(1, 2, term=3)
    raft.state.certified_index = 9
    give(raft, carrying(GARBAGE))
    give(raft, carrying(attrs.evolve(entry(4, 3)), after=(3, 3)))
    raft.compact(b"", 2)
    assert raft.state.base_configuration == raft.state.configuration == THREE


def test_an_entry_check_judges_what_raft_cannot_read() -> None:
    """The state's rules are asked for each new entry, and for none that the log holds."""
    raft, asked = holding(), []
    raft.state.entry_check = lambda e, offer: asked.append(e.index)
    give(raft, append(3, (1, 1), 2, 3))
    assert asked == [3]
    raft.state.entry_check = lambda e, offer: EntryRefusal("it is bad")
    assert give(raft, append(3, (3, 3), 3)).doubted == [(A, "it is bad")]


@pytest.mark.parametrize("number", [-1, 2**53 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("field", ["previous_index", "previous_term", "term"])
def test_numbers_that_no_disk_holds_are_ignored(field: str, number: int) -> None:
    """Neither appended nor answered; nothing raises."""
    raft = holding()
    changed: dict[str, Any] = {field: number}
    give(raft, attrs.evolve(carrying(entry(3, 3)), **changed))
    assert raft.state.log.last_index == 2
    assert raft.state.hard.term == 3


def test_a_configuration_of_a_known_form_is_appended() -> None:
    """The check refuses no honest change."""
    raft = holding()
    kind, body = encode_body(Configuration(THREE.voters[:2], THREE.voters[2:]))
    assert appended(give(raft, carrying(Entry(3, 3, kind, 0, body)))).ok
    assert raft.state.configuration.voters == THREE.voters[:2]


def test_a_change_is_judged_by_the_log_that_it_follows_not_by_what_it_replaces() -> None:
    """We hold a joint configuration that nobody committed; the next leader's entries take its
    place, and change the committee in the same frame."""
    raft = holding()
    joint = Configuration(THREE.voters[:2], (), THREE.voters)
    kind, body = encode_body(joint, DISTRUST_LEVEL)
    assert appended(give(raft, carrying(Entry(3, 3, kind, 0, body)))).ok
    kind, next_one = encode_body(Configuration(THREE.voters[1:]))
    entries = (entry(3, 4), Entry(4, 4, kind, 0, next_one))
    next_leaders = AppendRequested(LOG_ID, 4, B, ME, 2, 2, 2, 1, entries)
    assert appended(give(raft, next_leaders, proven=True)).ok
    assert raft.state.configuration == Configuration(THREE.voters[1:])
