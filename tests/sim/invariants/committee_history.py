"""How the voters of each log changed: one change at a time, each certified before the next."""

import attrs

from p2pool.codec.entries import decode_body
from p2pool.model.ids import Digest
from p2pool.model.log.entries import ChangeCertified
from p2pool.model.log.raft import Configuration, Entry, Voter
from tests.sim.world.violation import Violation


@attrs.define
class Trail:
    """The changes of one log's voters, up to an entry; `waits`: one that is not certified yet."""

    index: int
    voters: tuple[Voter, ...] | None = None
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
        body = decode_body(entry.kind, entry.body)
        if isinstance(body, Configuration):
            if trail.voters is not None and body.voters != trail.voters:
                if trail.waits is not None:
                    raise Violation(f"the voters changed before {trail.waits} was certified")
                trail.waits = entry.index
            trail.voters = body.voters
        elif isinstance(body, ChangeCertified) and body.index == trail.waits:
            trail.waits = None
