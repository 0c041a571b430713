"""Participants whose every frame, write and moment is in the hands of a transcript.

Nothing moves by itself: frames wait until they are delivered or dropped, clocks stand until time is
let pass, and a disk that is slow writes when it is told to. A step's frames leave once its writes
are durable, as the agent's do. There is one clock for all; `wall_ms` of one may be off.
"""

from collections import deque
from random import Random

import attrs

from p2pool.codec.digests import configuration_hash
from p2pool.codec.entries import encode_snapshot
from p2pool.core.raft.raft import Frame, Raft
from p2pool.core.raft.state import Ready
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Snapshot, Voter
from p2pool.model.messages.registry import Message
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.raft.harness.disk import Disk
from tests.raft.harness.envelopes import Envelopes
from tests.scenarios.harness import notation
from tests.scenarios.harness.transcript import BadTranscript

LOG_ID = Digest(b"L" * 32)
WALL_MS = 1_700_000_000_000
QUIET_ROUNDS_MAX = 500


@attrs.define
class Actor:
    """One participant: its disk outlives it."""

    name: str
    voter: Voter
    disk: Disk
    raft: Raft | None = None
    held: Ready | None = None
    slow_disk: bool = False
    wall_off_ms: int = 0
    starts: int = 0
    profile: Profile = Profile.DEFAULT


def identity(name: str) -> Voter:
    """`a`; `a2` is the same node with another store, `a'` the same with another peer key."""
    letter = name[0].encode()
    key = letter if "'" not in name else letter.upper()
    store = name.replace("'", "").encode().ljust(16, b".")
    return Voter(NodeId(letter * 20), PeerKey(key * 32), StoreId(store))


class Stage:
    """All participants of one transcript, and the frames between them."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.actors: dict[str, Actor] = {}
        self.mail: dict[tuple[str, str], deque[Message]] = {}
        self.cut: set[tuple[str, str]] = set()
        self.told: list[str] = []
        self.envelopes = Envelopes()
        self.quiet, self.dated = False, False
        self.timing = Profile.DEFAULT

    # --- who is who -----------------------------------------------------------------------------

    def name_of(self, store: bytes) -> str:
        return store.rstrip(b".").decode()

    def actor(self, name: str) -> Actor:
        if name not in self.actors:
            raise BadTranscript(f"there is no participant {name!r}")
        return self.actors[name]

    def raft(self, name: str) -> Raft:
        found = self.actor(name).raft
        if found is None:
            raise BadTranscript(f"{name} is down")
        return found

    def named(self, name: str) -> Voter:
        """A participant by its name, one that there is not on the stage too."""
        return self.actors[name].voter if name in self.actors else identity(name)

    # --- life -----------------------------------------------------------------------------------

    def found(self, voters: list[str], learners: list[str], spares: list[str]) -> None:
        """A committee whose log is empty so far: its first configuration is in a snapshot."""
        group = Configuration(
            tuple(identity(v) for v in voters), tuple(identity(v) for v in learners)
        )
        for name in (*voters, *learners, *spares):
            self.add(name, group if name not in spares else None)

    def add(self, name: str, group: Configuration | None) -> str:
        """One more participant, which knows the committee or nothing at all."""
        disk = Disk()
        if group is not None:
            disk.snapshot = encode_snapshot(Snapshot(LOG_ID, 0, 0, 0, group, b""))
        self.actors[name] = Actor(name, identity(name), disk, profile=self.timing)
        self.start(name)
        return name

    def start(self, name: str) -> None:
        """(Re)start from the disk."""
        actor = self.actor(name)
        assert actor.raft is None
        actor.starts += 1
        rng = Random(f"{name} {actor.starts}")
        actor.raft = Raft(
            actor.voter,
            LOG_ID,
            TIMINGS[actor.profile],
            actor.disk.read(),
            rng,
            configuration_hash,
            self.now(actor),
        )

    def crash(self, name: str, *, written: bool = False) -> None:
        """The process is gone, and with it the frames that had not left."""
        actor = self.actor(name)
        if not written:
            actor.disk.unsynced = []
        actor.disk.sync()
        actor.raft, actor.held = None, None
        for pair in list(self.mail):
            if name in pair:
                del self.mail[pair]

    def write_log(self, name: str, terms: list[int], term: int) -> None:
        """Let a disk hold a log of these terms; its participant is started anew from it."""
        actor = self.actor(name)
        actor.disk.entries = {
            i: Entry(i, t, EntryKind.NODE, WALL_MS, b"x") for i, t in enumerate(terms, 1)
        }
        actor.disk.hard = HardState(term)
        actor.raft = None
        self.start(name)

    def now(self, actor: Actor) -> Now:
        return Now(self.now_ms, WALL_MS + self.now_ms + actor.wall_off_ms)

    # --- steps ----------------------------------------------------------------------------------

    def step(self, name: str, out: Ready) -> None:
        """Carry out what a step wants done."""
        actor = self.actor(name)
        assert actor.held is None, f"{name} waits for its disk"
        if out.persist:
            self.say(f"  {name} writes {notation.writes(out.persist, self.name_of)}")
            actor.disk.begin(out.persist)
            if actor.slow_disk:
                actor.held = out
                self.say(f"  {name} waits for its disk")
                return
            actor.disk.sync()
        self._finish(actor, out)

    def sync(self, name: str) -> None:
        """A slow disk has written: the rest of the step is carried out."""
        actor = self.actor(name)
        out, actor.held = actor.held, None
        if out is None:
            raise BadTranscript(f"{name} waits for no disk")
        actor.disk.sync()
        self._finish(actor, out)

    def _finish(self, actor: Actor, out: Ready) -> None:
        if out.installed is not None:
            assert actor.raft is not None
            self.loud(f"  {actor.name} installs the snapshot of {actor.raft.state.snapshot_index}")
        if out.committed:
            self.loud(f"  {actor.name} commits {notation.entries(out.committed)}")
        for number, index in out.readable:
            self.loud(f"  {actor.name} answers read {number} at {index}")
        for number in out.unreadable:
            self.loud(f"  {actor.name} drops read {number}")
        for key, message in out.send:
            self._post(actor.name, key, message)

    def _post(self, sender: str, key: PeerKey, message: Message) -> None:
        """Frames go to a connection, which is known by its peer key."""
        for other in self.actors.values():
            reached = other.voter.peer_key == key and other.raft is not None
            if reached and other.name != sender and (sender, other.name) not in self.cut:
                self.mail.setdefault((sender, other.name), deque()).append(message)

    def deliver(self, sender: str, to: str, message: Message, key: PeerKey | None = None) -> None:
        """One frame arrives."""
        assert isinstance(message, Frame)
        self.say(f"{sender} -> {to}  {notation.frame(message)}")
        raft, actor = self.raft(to), self.actor(to)
        before = notation.role(raft.state, self.name_of)
        speaker = self.actor(sender).voter
        authentic = key if key is not None else speaker.peer_key
        out = raft.receive(
            message,
            authentic,
            self.now(actor),
            self.envelopes.seal(speaker, message),
            shown=self.envelopes.shown(message),
        )
        self._tell_role(to, before)
        self.step(to, out)

    def tick(self, name: str) -> None:
        raft, actor = self.raft(name), self.actor(name)
        before = notation.role(raft.state, self.name_of)
        out = raft.tick(self.now(actor))
        self._tell_role(name, before)
        self.step(name, out)

    def do(self, name: str, out: Ready, before: str) -> None:
        """What a command asked of a participant."""
        self._tell_role(name, before)
        self.step(name, out)

    def _tell_role(self, name: str, before: str) -> None:
        after = notation.role(self.raft(name).state, self.name_of)
        if after != before:
            self.loud(f"  {name} is {after}")

    # --- time -----------------------------------------------------------------------------------

    def due(self, names: list[str]) -> tuple[int, str] | None:
        """Who wants to be woken next, and when."""
        waiting = []
        for name in names:
            actor = self.actor(name)
            if actor.raft is not None and actor.held is None:
                due_ms = actor.raft.next_wakeup_ms
                if due_ms is not None:
                    waiting.append((max(due_ms, self.now_ms), name))
        return min(waiting) if waiting else None

    def advance(self, for_ms: int, names: list[str], *, delivering: bool) -> None:
        """Let time pass: whoever is due is woken; frames are delivered at once, or wait."""
        end_ms = self.now_ms + for_ms
        if delivering:
            self.settle()
        while (found := self.due(names)) is not None and found[0] <= end_ms:
            self.now_ms = found[0]
            self.tick(found[1])
            if delivering:
                self.settle()
        self.now_ms = end_ms

    def settle(self) -> None:
        """Deliver all frames, and those that come of them, until none is left."""
        for _ in range(QUIET_ROUNDS_MAX):
            waiting = [pair for pair, box in sorted(self.mail.items()) if box]
            if not waiting:
                return
            for pair in waiting:
                box = self.mail.get(pair)
                if box and self.actor(pair[1]).held is None:
                    self.deliver(*pair, box.popleft())
        raise BadTranscript("frames without end")

    # --- telling --------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """A detail, left out where much happens."""
        if not self.quiet:
            self.told.append(line)

    def loud(self, line: str) -> None:
        """What matters at any rate."""
        self.told.append(f"{line}  ({self.now_ms} ms)" if self.dated else line)

    def take_told(self) -> list[str]:
        told, self.told = self.told, []
        return told
