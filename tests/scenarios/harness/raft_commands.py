"""The commands of transcripts about Raft: each `do_` method is one, its docstring says how.

Participants are letters. `a2` is node a with another store, `a'` the same node with another peer
key. Lists are separated by commas, options are `name=value`.
"""

from collections import deque
from collections.abc import Callable

from p2pool.core.raft import election
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.progress import ProgressState
from p2pool.core.raft.raft import Raft
from p2pool.core.raft.state import Ready
from p2pool.model.log.raft import Configuration, EntryKind, Voter
from p2pool.model.messages.registry import Message
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.scenarios.harness import notation
from tests.scenarios.harness.commands import Commands
from tests.scenarios.harness.options import names, options
from tests.scenarios.harness.raft_stage import WALL_MS, Stage
from tests.scenarios.harness.transcript import BadTranscript, Command


class RaftCommands(Commands):
    """What can be said of a committee."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    def table(self) -> dict[str, Command]:
        """Each tells first what happened on the stage by itself."""
        return {name: self._telling(command) for name, command in super().table().items()}

    def _telling(self, command: Command) -> Command:
        def run(given: list[str]) -> list[str]:
            told = command(given)
            return [*self.stage.take_told(), *told]

        return run

    # --- the stage ------------------------------------------------------------------------------

    def do_cluster(self, given: list[str]) -> list[str]:
        """`cluster voters=a,b,c [learners=d] [spares=e] [timing=lan]`: all start, nobody leads."""
        _, named = options(given)
        self.stage = Stage()
        self.stage.timing = Profile[named.get("timing", "default").upper()]
        self.stage.found(
            names(named["voters"]), names(named.get("learners", "")), names(named.get("spares", ""))
        )
        return []

    def do_disk(self, given: list[str]) -> list[str]:
        """`disk a log=1,1,4 term=6`: what it holds; `disk a slow|fast`: whether writes wait."""
        (name, *rest), named = options(given)
        if "log" in named:
            terms = [int(t) for t in names(named["log"])]
            self.stage.write_log(name, terms, int(named["term"]))
        elif rest:
            self.stage.actor(name).slow_disk = rest[0] == "slow"
        else:
            found = self.stage.actor(name).disk
            kept = sorted(found.entries)
            voted = found.hard.voted_for
            vote = f", vote {self.stage.name_of(voted)}" if voted else ""
            held = f", entries {kept[0]}-{kept[-1]}" if kept else ", no entries"
            snapshot = f", snapshot of {found.base_index}" if found.base_index else ""
            return [f"{name}: term {found.hard.term}{vote}{snapshot}{held}"]
        return []

    def do_sync(self, given: list[str]) -> list[str]:
        """`sync a`: a slow disk has written what it was given."""
        self.stage.sync(given[0])
        return []

    def do_clock(self, given: list[str]) -> list[str]:
        """`clock a -5000`: its wall clock is off by so many milliseconds."""
        self.stage.actor(given[0]).wall_off_ms = int(given[1])
        return []

    def do_crash(self, given: list[str]) -> list[str]:
        """`crash a [written]`: what was on its way to the disk is lost, or came there."""
        self.stage.crash(given[0], written="written" in given)
        return []

    def do_restart(self, given: list[str]) -> list[str]:
        """`restart a [wiped]`: from its disk, or as another store with an empty one (`a2`)."""
        name = given[0]
        if "wiped" in given:
            del self.stage.actors[name]
            name = self.stage.add(f"{name}2", None)
        else:
            self.stage.start(name)
        return [f"  {name} is {self._role(name)}"]

    # --- time and frames ------------------------------------------------------------------------

    def do_pass(self, given: list[str]) -> list[str]:
        """`pass 200 [a,b|none]`: time passes and these alone notice; frames wait."""
        among = names(given[1]) if len(given) > 1 else list(self.stage.actors)
        among = [name for name in among if name != "none"]
        self.stage.advance(int(given[0]), among, delivering=False)
        return []

    def do_run(self, given: list[str]) -> list[str]:
        """`run 3000`: time passes and frames arrive at once; only what matters is told."""
        self.stage.quiet, self.stage.dated = True, True
        self.stage.advance(int(given[0]), list(self.stage.actors), delivering=True)
        self.stage.quiet, self.stage.dated = False, False
        return []

    def do_deliver(self, given: list[str]) -> list[str]:
        """`deliver`: all frames and what comes of them. `deliver a->b [2] [key=c]`: those only."""
        plain, named = options(given)
        if not plain:
            self.stage.settle()
            return []
        box, sender, to = self._box(plain[0])
        count = int(plain[1]) if len(plain) > 1 else len(box)
        key = self.stage.named(named["key"]).peer_key if "key" in named else None
        for _ in range(count):
            self.stage.deliver(sender, to, box.popleft(), key)
        return []

    def do_quietly(self, given: list[str]) -> list[str]:
        """`quietly COMMAND ...`: only what matters is told of it."""
        self.stage.quiet = True
        try:
            told = getattr(self, f"do_{given[0].replace('-', '_')}")(given[1:])
        finally:
            self.stage.quiet = False
        assert isinstance(told, list)
        return told

    def do_silently(self, given: list[str]) -> list[str]:
        """`silently COMMAND ...`: nothing is told of it."""
        self.do_quietly(given)
        self.stage.take_told()
        return []

    def do_drop(self, given: list[str]) -> list[str]:
        """`drop a->b [2]`: frames that wait are lost; `drop`: all that wait anywhere."""
        if not given:
            self.stage.mail.clear()
            return []
        box, _, _ = self._box(given[0])
        for _ in range(int(given[1]) if len(given) > 1 else len(box)):
            box.popleft()
        return []

    def do_duplicate(self, given: list[str]) -> list[str]:
        """`duplicate a->b`: what waits is there twice."""
        box, _, _ = self._box(given[0])
        box.extend(list(box))
        return []

    def do_reverse(self, given: list[str]) -> list[str]:
        """`reverse a->b`: what waits comes in the opposite order."""
        self._box(given[0])[0].reverse()
        return []

    def do_mail(self, given: list[str]) -> list[str]:
        """`mail`: the frames that wait."""
        return [
            f"{pair[0]} -> {pair[1]}  {notation.frame(m)}"
            for pair, box in sorted(self.stage.mail.items())
            for m in box
        ]

    def do_partition(self, given: list[str]) -> list[str]:
        """`partition a|b,c`: no frame passes between the sides; `partition`: links are whole."""
        self.stage.cut.clear()
        sides = [names(side) for side in given[0].split("|")] if given else []
        for side in sides:
            others = [n for other in sides if other is not side for n in other]
            self.stage.cut |= {(x, y) for x in side for y in others}
        for pair in self.stage.cut:
            self.stage.mail.pop(pair, None)
        return []

    def do_cut(self, given: list[str]) -> list[str]:
        """`cut a->b`: this direction is silent from now on."""
        sender, to = given[0].split("->")
        self.stage.cut.add((sender, to))
        self.stage.mail.pop((sender, to), None)
        return []

    def _box(self, link: str) -> tuple[deque[Message], str, str]:
        sender, to = link.split("->")
        box = self.stage.mail.get((sender, to))
        if not box:
            raise BadTranscript(f"nothing waits on {link}")
        return box, sender, to

    # --- what people and timers do --------------------------------------------------------------

    def do_campaign(self, given: list[str]) -> list[str]:
        """`campaign a [without-prevote]`: its election timer runs out."""
        raft = self.stage.raft(given[0])
        if "without-prevote" in given:
            election.campaign(raft.state, False, self.stage.now(self.stage.actor(given[0])))
            out, raft.state.out = raft.state.out, Ready()
            self.stage.step(given[0], out)
            return []
        raft.state.election_deadline_ms = self.stage.now_ms
        self.stage.tick(given[0])
        return []

    def do_beat(self, given: list[str]) -> list[str]:
        """`beat a`: a leader's append interval has passed."""
        self.stage.raft(given[0]).state.append_due_ms = self.stage.now_ms
        self.stage.tick(given[0])
        return []

    def do_elect(self, given: list[str]) -> list[str]:
        """`elect a`: it campaigns, and all frames are delivered."""
        self.do_quietly(["campaign", given[0]])
        self.do_quietly(["deliver"])
        self.stage.take_told()
        return [f"{given[0]} is {self._role(given[0])}"]

    def do_propose(self, given: list[str]) -> list[str]:
        """`propose a x [kind=99] [times=3] [bytes=1000]`: a client's entry."""
        (name, text), named = options(given)
        kind = int(named.get("kind", EntryKind.NODE))
        body = text.encode() * int(named.get("bytes", "1"))
        for _ in range(int(named.get("times", "1"))):
            raft, before = self.stage.raft(name), self._role(name)
            out, _ = raft.propose(kind, body, self.stage.now(self.stage.actor(name)))
            self.stage.do(name, out, before)
        return []

    def do_read(self, given: list[str]) -> list[str]:
        """`read a 1`: a consistent read, by a number."""
        return self._ask(given[0], lambda raft, now: raft.read(int(given[1]), now))

    def do_transfer(self, given: list[str]) -> list[str]:
        """`transfer a b`: a hands leadership to b."""
        to = self.stage.named(given[1])
        return self._ask(given[0], lambda raft, now: raft.transfer(to, now))

    def do_change(self, given: list[str]) -> list[str]:
        """`change a add-learner|promote|remove d`, or `change a voters=.. [learners=..]`; with
        `change a joint voters=..` from the voters of now to these."""
        plain, named = options(given)
        now_is = self.stage.raft(plain[0]).state.configuration
        voters, learners = now_is.voters, now_is.learners
        if named:
            voters = tuple(self.stage.named(n) for n in names(named["voters"]))
            learners = tuple(self.stage.named(n) for n in names(named.get("learners", "")))
        else:
            one = self.stage.named(plain[2])
            voters, learners = self._moved(plain[1], one, voters, learners)
        outgoing = now_is.voters if "joint" in plain else ()
        wanted = Configuration(tuple(sorted(voters)), tuple(sorted(learners)), outgoing)
        return self._ask(plain[0], lambda raft, now: raft.change(wanted, now)[0])

    @staticmethod
    def _moved(
        how: str, one: Voter, voters: tuple[Voter, ...], learners: tuple[Voter, ...]
    ) -> tuple[tuple[Voter, ...], tuple[Voter, ...]]:
        if how == "add-learner":
            return voters, (*learners, one)
        rest = tuple(v for v in learners if v != one)
        if how == "promote":
            return (*voters, one), rest
        return tuple(v for v in voters if v != one), rest

    def do_compact(self, given: list[str]) -> list[str]:
        """`compact a [at=5] [keep=2] [bytes=100]`: a snapshot of what is committed; some stays."""
        (name,), named = options(given)
        raft = self.stage.raft(name)
        raft.state.keep_entries = int(named.get("keep", "0"))
        state = b"s" * int(named.get("bytes", "10"))
        index = int(named.get("at", raft.state.commit_index))
        return self._ask(name, lambda raft, now: raft.compact(state, index))

    def do_send_snapshot(self, given: list[str]) -> list[str]:
        """`send-snapshot a b`: a sends b its snapshot, though b might do without."""
        name, to = given
        raft = self.stage.raft(name)
        snapshots.begin(raft.state, raft.state.progress[self.stage.named(to).store_id])
        return self.do_beat([name])

    def do_timing(self, given: list[str]) -> list[str]:
        """`timing a wan`: another profile is in force at it."""
        self.stage.actor(given[0]).profile = Profile[given[1].upper()]
        timing = TIMINGS[Profile[given[1].upper()]]
        return self._ask(given[0], lambda raft, now: raft.retime(timing))

    def _ask(self, name: str, what: Callable[[Raft, Now], Ready]) -> list[str]:
        raft, before = self.stage.raft(name), self._role(name)
        out = what(raft, self.stage.now(self.stage.actor(name)))
        self.stage.do(name, out, before)
        return []

    # --- looking --------------------------------------------------------------------------------

    def _role(self, name: str) -> str:
        return notation.role(self.stage.raft(name).state, self.stage.name_of)

    def do_show(self, given: list[str]) -> list[str]:
        """`show [a,b]`: role, commit index and log of each."""
        wanted = names(given[0]) if given else list(self.stage.actors)
        rows = []
        for name in wanted:
            actor = self.stage.actor(name)
            if actor.raft is None:
                rows.append(f"{name}  down")
                continue
            s = actor.raft.state
            rows.append(
                f"{name}  {self._role(name):20}  commit {s.commit_index:<3} log {notation.log(s)}"
            )
        return rows

    def do_committee(self, given: list[str]) -> list[str]:
        """`committee a`: the configuration that is in force at it."""
        s = self.stage.raft(given[0]).state
        voters = notation.group(s.configuration.voters, self.stage.name_of)
        learners = notation.group(s.configuration.learners, self.stage.name_of)
        if s.configuration.outgoing:
            voters += f" from {notation.group(s.configuration.outgoing, self.stage.name_of)}"
        settled = "committed" if s.configuration_index <= s.commit_index else "not committed"
        return [
            f"voters {voters}, learners {learners}, of index {s.configuration_index}, {settled}"
        ]

    def do_followers(self, given: list[str]) -> list[str]:
        """`followers a`: each follower as its leader sees it."""
        s = self.stage.raft(given[0]).state
        rows = []
        for voter in s.others():
            p = s.progress[voter.store_id]
            how = "probe" if p.state is ProgressState.PROBE else "pipeline"
            if p.sending is not None:
                how = f"snapshot {p.sending.index} from byte {p.sending.offset}"
            name = self.stage.name_of(voter.store_id)
            rows.append(
                f"{name}  match {p.match_index}, next {p.next_index}, "
                f"{len(p.in_flight)} under way, {how}"
            )
        return rows

    def do_timers(self, given: list[str]) -> list[str]:
        """`timers`: in how many milliseconds each wants to be woken."""
        rows = []
        for name, actor in self.stage.actors.items():
            due = actor.raft.next_wakeup_ms if actor.raft is not None else None
            rows.append(f"{name}  {'never' if due is None else f'in {due - self.stage.now_ms} ms'}")
        return rows

    def do_times(self, given: list[str]) -> list[str]:
        """`times a`: the log time of each entry, in milliseconds since the beginning."""
        log = self.stage.raft(given[0]).state.log
        return [f"{e.index}/{e.term} at {e.proposed_at_ms - WALL_MS}" for e in log.entries]
