"""What validators say of the members: of each validator on each node, the newest verdict.

Intuition: verdicts come in any order, by several ways, and more than once. Of two by one validator
on one node the newer one stays (`Verdict.order`), so all that have heard the same hold the same.

Invariants: merging is idempotent and does not depend on the order; so many on one node are kept,
and so many in all, where the one that was taken first goes first; one that is too old, or of a node
that is out, goes when its turn to be looked at comes, and no step looks at all. A verdict decides
nothing here: whoever schedules does not read it.
Source: docs/design/validation.md, "What becomes of a verdict".
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.messages.verdicts import VerdictCode
from p2pool.model.ports.store import VERDICTS_TABLE, Delete, PersistOp
from p2pool.model.timing import Now
from p2pool.model.validation.verdict import SignedVerdict, Verdict

Pair = tuple[NodeId, Address]
"""A node, and the validator that judged it."""


@attrs.define
class ValidatorVerdicts:
    """All verdicts at one node. `belongs`: whether a node is in the pool; `left`: whether it is out
    for good. `kept` is in the order in which pairs were taken first; `repeats` and `sweeps`: the
    pairs in the order of their turns."""

    belongs: Callable[[NodeId], bool]
    left: Callable[[NodeId], bool]
    kept: "OrderedDict[Pair, SignedVerdict]" = attrs.field(factory=OrderedDict)
    nodes: list[NodeId] = attrs.field(factory=list)
    by_node: dict[NodeId, dict[Address, SignedVerdict]] = attrs.field(factory=dict)
    by_validator: dict[Address, dict[NodeId, None]] = attrs.field(factory=dict)
    by_evidence: dict[Digest, Pair] = attrs.field(factory=dict)
    repeats: "OrderedDict[Pair, None]" = attrs.field(factory=OrderedDict)
    sweeps: "OrderedDict[Pair, None]" = attrs.field(factory=OrderedDict)

    def restore(self, rows: Iterable[bytes]) -> None:
        """What the disk has: it was checked before it was written."""
        for row in rows:
            try:
                self._put(decode_struct(SignedVerdict, row))
            except Malformed:
                continue  # Another version wrote it; what it says will come again.

    # --- taking -----------------------------------------------------------------------------------

    def refusal(self, verdict: Verdict, now: Now) -> VerdictCode | None:
        """Why a verdict is not for us, whoever signed it."""
        if not self.belongs(verdict.node_id):
            return VerdictCode.NOT_MEMBER
        if is_old(verdict, now):
            return VerdictCode.OLD
        if verdict.concluded_at_ms > now.wall_ms + limits.VERDICT_AHEAD_MAX_MS:
            return VerdictCode.NOT_YET
        known = self.kept.get((verdict.node_id, verdict.validator))
        if known is not None and known.verdict.order > verdict.order:
            return VerdictCode.OLDER
        return None

    def holds(self, verdict: Verdict) -> bool:
        """Whether it is kept already."""
        known = self.kept.get((verdict.node_id, verdict.validator))
        return known is not None and known.verdict == verdict

    def keep(self, signed: SignedVerdict) -> list[PersistOp]:
        """Keep a verdict by a validator; what to write. Nothing for one that is not newer."""
        verdict = signed.verdict
        pair = (verdict.node_id, verdict.validator)
        known = self.kept.get(pair)
        if known is not None and known.verdict.order >= verdict.order:
            return []
        gone: list[PersistOp] = []
        if known is None:
            for crowded in self._crowded_out(verdict.node_id):
                gone += self.drop(crowded)
        self._put(signed)
        return [*gone, put_record(VERDICTS_TABLE, _key(pair), signed)]

    def _crowded_out(self, node_id: NodeId) -> list[Pair]:
        """What has to go for one more: of this node the oldest, and of all the first taken."""
        found: list[Pair] = []
        of_node = self.by_node.get(node_id, {})
        if len(of_node) >= limits.VERDICTS_PER_NODE_MAX:
            oldest = min(of_node.values(), key=lambda one: one.verdict.order)
            found.append((node_id, oldest.verdict.validator))
        elif len(self.kept) >= limits.VERDICTS_KEPT_MAX:
            found.append(next(iter(self.kept)))
        return found

    def _put(self, signed: SignedVerdict) -> None:
        verdict = signed.verdict
        pair = node_id, validator = verdict.node_id, verdict.validator
        if (known := self.kept.get(pair)) is not None:
            self._unname(known, pair)
        self.kept[pair] = signed
        # Whoever names evidence of somebody else as its own does not take its name away.
        self.by_evidence.setdefault(verdict.evidence, pair)
        if node_id not in self.by_node:
            self.by_node[node_id] = {}
            insort(self.nodes, node_id)
        self.by_node[node_id][validator] = signed
        self.by_validator.setdefault(validator, {})[node_id] = None
        self.repeats[pair] = self.sweeps[pair] = None

    def _unname(self, signed: SignedVerdict, pair: Pair) -> None:
        if self.by_evidence.get(signed.verdict.evidence) == pair:
            del self.by_evidence[signed.verdict.evidence]

    # --- forgetting -------------------------------------------------------------------------------

    def drop(self, pair: Pair) -> list[PersistOp]:
        """Forget a verdict."""
        signed = self.kept.pop(pair, None)
        if signed is None:
            return []
        node_id, validator = pair
        self._unname(signed, pair)
        self.repeats.pop(pair, None)
        self.sweeps.pop(pair, None)
        of_node, of_validator = self.by_node[node_id], self.by_validator[validator]
        del of_node[validator], of_validator[node_id]
        if not of_node:
            del self.by_node[node_id]
            del self.nodes[bisect_left(self.nodes, node_id)]
        if not of_validator:
            del self.by_validator[validator]
        return [Delete(VERDICTS_TABLE, _key(pair))]

    def drop_all_by(self, validator: Address) -> list[PersistOp]:
        """Forget what an account said that is no validator any more."""
        said = tuple(self.by_validator.get(validator, ()))
        return [op for node_id in said for op in self.drop((node_id, validator))]

    def sweep(self, now: Now) -> list[PersistOp]:
        """Look at the next few, and forget those that count no more."""
        gone: list[PersistOp] = []
        for pair in _next(self.sweeps, limits.VERDICTS_SWEPT_MAX):
            if is_old(self.kept[pair].verdict, now) or self.left(pair[0]):
                gone += self.drop(pair)
        return gone

    # --- reading ----------------------------------------------------------------------------------

    def to_repeat(self, now: Now) -> list[SignedVerdict]:
        """The next few in turn; what counts no more is left out."""
        pairs = _next(self.repeats, limits.VERDICTS_PER_GOSSIP_MAX)
        found = [self.kept[pair] for pair in pairs if self.belongs(pair[0])]
        return [one for one in found if not is_old(one.verdict, now)]

    def named(self, evidence: Digest) -> SignedVerdict | None:
        """The verdict that names this evidence."""
        pair = self.by_evidence.get(evidence)
        return self.kept[pair] if pair is not None else None

    def counts(self, signed: SignedVerdict, now: Now) -> bool:
        """Whether it still does: one that is old is shown to nobody before its turn to go."""
        return not is_old(signed.verdict, now)

    def of_node(self, node_id: NodeId) -> tuple[SignedVerdict, ...]:
        """Those on one node, by validator."""
        return tuple(one for _, one in sorted(self.by_node.get(node_id, {}).items()))

    def behind(self, place: Pair | None) -> Iterator[SignedVerdict]:
        """Those behind a place, by node and validator; None: all."""
        at = 0 if place is None else bisect_left(self.nodes, place[0])
        for node_id in islice(self.nodes, at, None):
            for validator, one in sorted(self.by_node[node_id].items()):
                if place is None or (node_id, validator) > place:
                    yield one


def is_old(verdict: Verdict, now: Now) -> bool:
    """Whether it was concluded so long ago that it counts no more."""
    return verdict.concluded_at_ms < now.wall_ms - limits.VERDICT_AGE_MAX_MS


def _next(turns: "OrderedDict[Pair, None]", most: int) -> list[Pair]:
    """The pairs whose turn it is; they come last from now on."""
    taken = []
    for _ in range(min(most, len(turns))):
        pair, _none = turns.popitem(last=False)
        taken.append(pair)
    for pair in taken:
        turns[pair] = None
    return taken


def _key(pair: Pair) -> bytes:
    return pair[0] + pair[1]
