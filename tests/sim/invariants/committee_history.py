"""How the voters of each log changed: one change at a time, each certified before the next.

A step adds or takes one voter, or is joint: then it keeps most voters, and the next step leaves it.
Who becomes a voter was a learner.
"""

import attrs

from p2pool.codec.entries import configuration_in, decode_body
from p2pool.model.features import newest
from p2pool.model.ids import Digest
from p2pool.model.log.entries import ChangeCertified
from p2pool.model.log.raft import Configuration, Entry, Voter
from tests.sim.world.violation import Violation


@attrs.define
class Trail:
    """The changes of one log's voters, up to an entry; `waits`: one that is not certified yet."""

    index: int
    voters: tuple[Voter, ...] | None = None
    committee: Configuration | None = None
    waits: int | None = None


@attrs.define
class Trails:
    """The trails of all logs."""

    of: dict[Digest, Trail] = attrs.field(factory=dict)

    def chosen(self, log_id: Digest, entry: Entry) -> None:
        """The voters change only once the change before is certified, or given up in the log."""
        trail = self.of.setdefault(log_id, Trail(entry.index - 1))
        if entry.index != trail.index + 1:
            return  # What went before it was compacted away unseen.
        trail.index = entry.index
        body = configuration_in(entry) or decode_body(entry.kind, entry.body, newest())
        if isinstance(body, Configuration):
            _is_a_step(trail.committee, body)
            trail.committee = body
            if trail.voters is not None and body.settled != trail.voters:
                if trail.waits is not None:
                    raise Violation(f"the voters changed before {trail.waits} was certified")
                trail.waits = entry.index
            trail.voters = body.settled
        elif isinstance(body, ChangeCertified) and body.index == trail.waits:
            trail.waits = None


def _is_a_step(old: Configuration | None, new: Configuration) -> None:
    """Whether a committed configuration may follow the one before it."""
    if old is None:
        return
    if old.outgoing:
        if new != Configuration(old.voters, old.learners):
            raise Violation(f"a joint committee was not left: {old} and then {new}")
        return
    before, after = set(old.voters), set(new.voters)
    if not after - before <= set(old.learners):
        raise Violation(f"a voter was no learner before: {old} and then {new}")
    if new.outgoing:
        if new.outgoing != old.voters or 2 * len(before & after) <= len(before):
            raise Violation(f"a joint change is none of these voters: {old} and then {new}")
    elif len(before ^ after) > 1 or not after:
        raise Violation(f"more than one voter changed at once: {old} and then {new}")
