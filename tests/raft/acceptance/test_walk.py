"""Frames in any order and of any age, lies among them: nothing raises, and Raft's invariants hold
after each step (its TLA+ specification: a committed entry never changes, terms never fall, a vote
in a term never changes). Where somebody lies, a voter that starts anew may have forgotten its
newest commits; what it signed as committed never changes."""

from random import Random
from typing import Any

import attrs
import pytest

from p2pool.codec.digests import configuration_hash
from p2pool.codec.entries import encode_body
from p2pool.core.raft import replication
from p2pool.core.raft.raft import Frame, Raft, RaftRestored
from p2pool.core.raft.state import Ready
from p2pool.model.errors import P2poolError
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Voter
from p2pool.model.messages.raft import AppendRequested, VoteAnswered
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.raft.harness.cluster import LOG_ID, voter
from tests.raft.harness.disk import Disk

SIZE, STEPS, BAG_MAX = 3, 500, 300
EXTREMES = (-(2**63), -1, 0, 1, 2, 3, 7, 2**31, 2**53 - 1, 2**63 - 1, 2**64 - 1)
KIND, BODY = encode_body(Configuration(tuple(voter(i) for i in range(SIZE))))
FIRST = Entry(1, 1, KIND, 0, BODY)


@attrs.define
class Walk:
    """Three voters, every frame that was ever sent, and what each of them had committed.

    `kept`: the commit index on each disk; `signed`: up to where each signed what is committed.
    `forgets`: a planted fault, that who signs does not keep it.
    """

    rng: Random
    lies: bool
    forgets: bool = False
    now_ms: int = 0
    disks: list[Disk] = attrs.field(init=False)
    rafts: list[Raft] = attrs.field(init=False)
    bag: list[tuple[Voter, Voter, Frame]] = attrs.field(factory=list)
    chosen: list[dict[int, Entry]] = attrs.field(init=False)
    votes: list[dict[int, StoreId | None]] = attrs.field(init=False)
    terms: list[int] = attrs.field(init=False)
    kept: list[int] = attrs.field(factory=lambda: [0] * SIZE)
    signed: list[dict[int, Entry]] = attrs.field(factory=lambda: [{} for _ in range(SIZE)])

    def __attrs_post_init__(self) -> None:
        self.disks = [Disk(HardState(1), entries={1: FIRST}) for _ in range(SIZE)]
        self.rafts = [self.started(i) for i in range(SIZE)]
        self.chosen = [{} for _ in range(SIZE)]
        self.votes = [{} for _ in range(SIZE)]
        self.terms = [1] * SIZE

    def started(self, i: int) -> Raft:
        kept: RaftRestored = self.disks[i].read()
        rng, timing = Random(self.rng.random()), TIMINGS[Profile.DEFAULT]
        return Raft(voter(i), LOG_ID, timing, kept, rng, configuration_hash, self.now())

    def now(self) -> Now:
        return Now(self.now_ms, 1_700_000_000_000 + self.now_ms)

    @property
    def honest(self) -> range:
        """The last one lies, if anybody does."""
        return range(SIZE - 1) if self.lies else range(SIZE)

    def step(self) -> None:
        """Something happens to one of them."""
        i, dice = self.rng.randrange(SIZE), self.rng.random()
        self.now_ms += self.rng.choice((0, 0, 0, 1, 20, 400))
        if dice < 0.12:
            self.done(i, self.rafts[i].tick(self.now()))
        elif dice < 0.2:
            try:
                out, _ = self.rafts[i].propose(EntryKind.NODE, self.rng.randbytes(3), self.now())
            except P2poolError:
                return
            self.done(i, out)
        elif dice < 0.21:
            self.disks[i].crash(self.rng)
            self.rafts[i] = self.started(i)
            self.rafts[i].recommit(self.kept[i])
            if self.lies:
                self.chosen[i] = {n: e for n, e in self.chosen[i].items() if n <= self.kept[i]}
                self.replace(i)
        elif dice < 0.22:
            self.sign(i)
        elif dice < 0.24 and self.rafts[i].state.commit_index > 1:
            s = self.rafts[i].state
            index = self.rng.randint(max(1, s.snapshot_index), s.commit_index)
            s.keep_entries = self.rng.randrange(3)
            if index > s.log.base_index:
                self.done(i, self.rafts[i].compact(b"state", index))
        elif self.bag:
            recent = self.bag[-6:] if self.rng.random() < 0.7 else self.bag
            sender, to, frame = self.rng.choice(recent)
            liar = voter(SIZE - 1)
            if self.lies and isinstance(frame, AppendRequested) and self.rng.random() < 0.2:
                frame = attrs.evolve(frame, leader=liar, term=self.terms[to.node_id[0]])
                sender = liar
            if self.lies and sender == liar and self.rng.random() < 0.5:
                frame = self.lie(frame)
            raft = self.rafts[to.node_id[0]]
            out = raft.receive(frame, sender.peer_key, self.now(), b"sealed")
            self.done(to.node_id[0], out)

    def lie(self, frame: Frame) -> Frame:
        """One field of a frame says something else."""
        fields = [f.name for f in attrs.fields(type(frame)) if type(getattr(frame, f.name)) is int]
        name = self.rng.choice([*fields, "granted"])
        if getattr(frame, "entries", ()) and self.rng.random() < 0.7:
            name = "entries"
        change: dict[str, Any] = {}
        if name == "entries":
            number = self.rng.choice((*EXTREMES, self.rng.randrange(9)))
            part: dict[str, Any] = {}
            part[self.rng.choice(("index", "term", "kind", "proposed_at_ms"))] = number
            if self.rng.random() < 0.6:
                part = self.rng.choice(({"body": b"another"}, {"term": frame.term}))
            elif self.rng.random() < 0.5:
                part = {"kind": EntryKind.CONFIGURATION, "body": b"junk"}
            entries = list(frame.entries)  # type: ignore[union-attr]
            at = self.rng.randrange(len(entries))
            entries[at] = attrs.evolve(entries[at], **part)
            change = {"entries": tuple(entries)}
        elif name != "granted":
            near = getattr(frame, name) + self.rng.choice((-1, 1))
            change = {name: near if name == "term" else self.rng.choice((*EXTREMES, near, near))}
        elif isinstance(frame, VoteAnswered):
            change = {"granted": True}
        return attrs.evolve(frame, **change)

    def replace(self, i: int) -> None:
        """The liar leads whoever has just begun anew, with another log than it held."""
        s, liar = self.rafts[i].state, voter(SIZE - 1)
        previous = self.rng.randint(s.log.base_index, s.log.last_index)
        previous_term, term = s.log.term_at(previous), s.hard.term + 1
        assert previous_term is not None
        entry = Entry(previous + 1, term, EntryKind.NODE, 0, b"another")
        frame = AppendRequested(
            log_id=LOG_ID,
            term=term,
            leader=liar,
            follower=voter(i),
            previous_index=previous,
            previous_term=previous_term,
            commit_index=entry.index,
            round=1,
            entries=(entry,),
        )
        self.bag.append((liar, voter(i), frame))

    def sign(self, i: int) -> None:
        """A voter signs what is committed, and keeps how far that is, before it says so
        (`core.voter.history_signatures`)."""
        s = self.rafts[i].state
        if not self.forgets:
            self.kept[i] = max(self.kept[i], s.commit_index)
        for entry in s.log.between(s.log.base_index + 1, s.commit_index):
            held = self.signed[i].setdefault(entry.index, entry)
            assert held == entry or i not in self.honest, "what it signed was replaced"

    def done(self, i: int, out: Ready) -> None:
        """The driver's part of a step; then the invariants."""
        self.disks[i].begin(out.persist)
        self.disks[i].sync()
        if out.persist and not self.forgets:
            # The agent keeps its commit index with its other writes (`core.log.pool_log`).
            self.kept[i] = self.rafts[i].state.commit_index
        for peer_key, message in out.send:
            to = next((v for v in map(voter, range(SIZE)) if v.peer_key == peer_key), None)
            if to is not None:
                assert isinstance(message, Frame)
                self.bag.append((voter(i), to, message))
        for vote in out.seal:
            assert isinstance(vote, VoteAnswered)
            self.rafts[i].own_vote(vote, b"sealed")
        while len(self.bag) > BAG_MAX:
            self.bag.pop(self.rng.randrange(len(self.bag)))
        for entry in out.committed:
            held = self.chosen[i].setdefault(entry.index, entry)
            assert held == entry or i not in self.honest, "a committed entry changed"
        if i in self.honest:
            self.check(i)

    def check(self, i: int) -> None:
        """Terms never fall, votes never change, and what is committed stands in the log."""
        s = self.rafts[i].state
        assert s.hard.term >= self.terms[i], "a term fell"
        self.terms[i] = s.hard.term
        if s.hard.voted_for is not None:
            first = self.votes[i].setdefault(s.hard.term, s.hard.voted_for)
            assert first == s.hard.voted_for, "a vote changed"
        for entry in s.log.between(s.log.base_index + 1, s.commit_index):
            assert self.chosen[i].get(entry.index, entry) == entry, "the log lost what is committed"
            assert self.signed[i].get(entry.index, entry) == entry, "what it signed was replaced"
        if not self.lies:
            for other in self.honest:
                for index, entry in self.chosen[i].items():
                    assert self.chosen[other].get(index, entry) == entry, "two logs differ"


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_of_honest_frames(seed: int) -> None:
    """Old, repeated and reordered frames, restarts and snapshots; and entries are committed."""
    walk = Walk(Random(seed), lies=False)
    for _ in range(STEPS):
        walk.step()
    assert any(len(entries) > 1 for entries in walk.chosen)


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_with_a_liar(seed: int) -> None:
    """One of three changes what it sends, as it likes: nobody raises, and each keeps its word."""
    walk = Walk(Random(seed), lies=True)
    for _ in range(STEPS):
        walk.step()


def run(walks: list[Walk]) -> None:
    """Each to its end."""
    for walk in walks:
        for _ in range(STEPS):
            walk.step()


def test_a_walk_finds_a_check_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that appends what contradicts its commits."""
    monkeypatch.setattr(replication, "_contradiction", lambda *args: None)
    walks = [Walk(Random(seed), lies=True) for seed in range(12)]
    with pytest.raises(AssertionError, match="committed"):
        run(walks)


def test_a_walk_finds_a_commit_that_is_forgotten() -> None:
    """A voter that says what is committed before its disk knows it."""
    walks = [Walk(Random(seed), lies=True, forgets=True) for seed in range(12, 24)]
    with pytest.raises(AssertionError, match="signed was replaced"):
        run(walks)
