"""The log's history: ours at the indexes that we applied last, and what quorums of voters signed.

Intuition: a history is a hash over all entries up to an index. Once most voters have signed one,
entries that hash to it may come from anybody, and nobody, leader included, can pass off others.

Invariants: both tables are bounded; what a quorum signed of a log outlives our copy of that log, so
that a node which begins anew is no more gullible than before; `proven_index` is one at which ours
is what a quorum signed.
Source: docs/design/certificates.md, "Signed histories".
"""

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import SignedHistory


def _table() -> BoundedDict[int, Digest]:
    return BoundedDict(limits.HISTORIES_KEPT_MAX)


@attrs.frozen
class Diverged:
    """This node's state at an index differs from the certified one."""

    index: int

    def told(self, *, discarded: bool) -> str:
        """The sentence for the operator. `discarded`: this node has discarded its log."""
        said = f"This node's state at index {self.index} is not what the committee certifies"
        if discarded:
            return f"{said}: this node discards it and fetches it anew."
        return f"{said}: stop it, move its store away and start it again."


@attrs.define
class Histories:
    """Histories of one log by index. `contradicted_index`: there a quorum signed another one."""

    log_id: Digest | None = None
    ours: BoundedDict[int, Digest] = attrs.field(factory=_table)
    signed: BoundedDict[int, Digest] = attrs.field(factory=_table)
    proven_index: int = 0
    contradicted_index: int | None = None

    def begin(self, log_id: Digest) -> None:
        """Another log replaces this one; what was signed of the same one stays."""
        if log_id != self.log_id:
            self.log_id = log_id
            self.signed.clear()
            self.forget()

    def forget(self) -> None:
        """Our copy of the log is gone, or replaced from outside."""
        self.ours.clear()
        self.proven_index, self.contradicted_index = 0, None

    def applied(self, index: int, history: Digest) -> None:
        """We applied the entry at an index."""
        self.ours[index] = history
        self._compare(index, self.signed.get(index))

    def sign(self, said: SignedHistory) -> None:
        """A quorum signed a history of this log. The newest indexes are kept: whoever repeats what
        was signed long ago displaces nothing."""
        if said.index in self.signed:
            return
        full = len(self.signed) >= self.signed.most
        if full and said.index > (lowest := min(self.signed)):
            del self.signed[lowest]
            full = False
        if not full:
            self.signed[said.index] = said.history
        self._compare(said.index, said.history)

    def _compare(self, index: int, signed: Digest | None) -> None:
        ours = self.ours.get(index)
        if ours is None or signed is None:
            return
        if ours == signed:
            self.proven_index = max(self.proven_index, index)
        else:
            self.contradicted_index = index
