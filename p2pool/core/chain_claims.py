"""What an agent's endpoints say of the chain, and which changes of it nobody has confirmed yet.

Intuition: a reading is one endpoint's word unless others say the same. It is compared with what
this node goes by, and every difference is a claim: another root record, other rulers, another
status, a member that came, went, or lost its right to work. Until a claim counts, what this node
goes by keeps the old value, and takes everything else from the reading.

Invariants: a claim lives as long as the endpoints go on saying that very thing, and is as old as
the first time they said it; claims are bounded by the members of a roster. Nothing here decides
whether a claim counts (`voter.chain_agreement`).
Source: docs/design/chain.md, "Who confirms it".
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

import attrs

from p2pool.codec.cbor.structs import to_value
from p2pool.codec.digests import chain_fact
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.ids import ADDRESS_BYTES, Address, Digest, NodeId
from p2pool.model.states import PoolStatus
from p2pool.model.timing import Now

NOBODY = Address(bytes(ADDRESS_BYTES))


class Fact(StrEnum):
    """What the chain says of the pool as a whole, besides its members."""

    ROOT = "the root record"
    RULERS = "creator and manager"
    STATUS = "the pool's status"


Key = Fact | NodeId
"""What a claim is about: a fact of the pool, or one member."""


@attrs.frozen(eq=False)
class Reading:
    """The rosters at the latest block minus k and at the final one, and the members of both.

    A member's right to work is that of the final block, if it is there.
    """

    latest: ChainRoster
    final: ChainRoster
    members: Mapping[NodeId, ChainMember]

    @classmethod
    def of(cls, latest: ChainRoster, final: ChainRoster, last: "Reading | None") -> "Reading":
        """Two rosters; a reading with the very same members lends its table."""
        if (
            last is not None
            and last.latest.members is latest.members
            and last.final.members is final.members
        ):
            return cls(latest, final, last.members)
        members = {m.node_id: m for m in final.members}
        for member in latest.members:
            known = members.get(member.node_id)
            if known is not None and known.eligible != member.eligible:
                member = attrs.evolve(member, eligible=known.eligible, reason=known.reason)
            members[member.node_id] = member
        return cls(latest, final, members)

    def digest(self, key: Key) -> Digest:
        """Digest of what is said about one thing; the sentence of why is left out."""
        if key is Fact.ROOT:
            root = self.final.root
            return chain_fact("root", [] if root is None else to_value(root))
        if key is Fact.RULERS:
            return chain_fact("rulers", self.latest.creator, self.latest.manager)
        if key is Fact.STATUS:
            return chain_fact("status", int(self.final.status))
        member = self.members.get(NodeId(key))
        if member is None:
            return chain_fact("member", [])
        return chain_fact("member", [member.node_id, member.provider, member.eligible])

    @property
    def epoch(self) -> int:
        """The epoch of the root record, 0 without one."""
        return self.final.root.epoch if self.final.root is not None else 0


def unruled(reading: Reading) -> Reading:
    """A reading of which only the members count yet: no root record, and nobody rules."""
    return Reading(_unruled(reading.latest), _unruled(reading.final), reading.members)


def _unruled(roster: ChainRoster) -> ChainRoster:
    return attrs.evolve(roster, root=None, creator=NOBODY, manager=NOBODY, status=PoolStatus.ACTIVE)


def differences(was: Reading, reading: Reading) -> dict[Key, bool]:
    """What a reading says otherwise, and whether that takes work, or a right, from anybody."""
    found: dict[Key, bool] = {}
    if was.final.root != reading.final.root:
        found[Fact.ROOT] = reading.epoch < was.epoch
    before, after = was.latest, reading.latest
    if (before.creator, before.manager) != (after.creator, after.manager):
        found[Fact.RULERS] = True
    if was.final.status != reading.final.status:
        found[Fact.STATUS] = reading.final.status is PoolStatus.COMPLETED
    if was.members is reading.members:
        return found
    for node_id in (*was.members, *(n for n in reading.members if n not in was.members)):
        old, new = was.members.get(node_id), reading.members.get(node_id)
        if old is new or _right(old) == _right(new):
            continue
        found[node_id] = new is None or (old is not None and old.eligible and not new.eligible)
    return found


def _right(member: ChainMember | None) -> tuple[Address, bool] | None:
    return (member.provider, member.eligible) if member is not None else None


def merged(was: Reading, reading: Reading, held: Collection[Key]) -> Reading:
    """A reading in which what is held still has its old value."""
    if not held:
        return reading
    latest, final = reading.latest, reading.final
    if Fact.ROOT in held:
        latest = attrs.evolve(latest, root=was.latest.root)
        final = attrs.evolve(final, root=was.final.root)
    if Fact.RULERS in held:
        creator, manager = was.latest.creator, was.latest.manager
        latest = attrs.evolve(latest, creator=creator, manager=manager)
        final = attrs.evolve(final, creator=creator, manager=manager)
    if Fact.STATUS in held:
        latest = attrs.evolve(latest, status=was.final.status)
        final = attrs.evolve(final, status=was.final.status)
    nodes = {NodeId(k): was.members.get(NodeId(k)) for k in held if not isinstance(k, Fact)}
    if not nodes:
        return Reading(latest, final, reading.members)
    latest = attrs.evolve(latest, members=_kept(latest.members, nodes, ()))
    in_final = {m.node_id for m in final.members}
    gone = [m for n, m in nodes.items() if m is not None and n not in in_final]
    final = attrs.evolve(final, members=_kept(final.members, nodes, gone))
    return Reading.of(latest, final, None)


def _kept(
    members: Iterable[ChainMember],
    held: Mapping[NodeId, ChainMember | None],
    gone: Collection[ChainMember],
) -> tuple[ChainMember, ...]:
    """Members, those that are held as they were, and those besides that are held though gone."""
    found = [*(held.get(m.node_id, m) for m in members), *gone]
    there = [m for m in found if m is not None]
    return tuple(sorted(there, key=lambda m: m.node_id) if gone else there)


@attrs.frozen
class Word:
    """What a voter said of a claim: true, false, or None if it has not read that far."""

    agrees: bool | None
    heard_ms: int


@attrs.define
class Claim:
    """A change that our endpoints state: since when, at which blocks, and what voters read.

    `takes`: it takes work or a right from somebody. `epoch`: that of the root record before.
    """

    digest: Digest
    takes: bool
    since_ms: int
    latest_block: int
    final_block: int
    final_hash: Digest
    epoch: int
    words: dict[NodeId, Word] = attrs.field(factory=dict)
    held: bool = False

    def word(self, voter: NodeId, now: Now) -> Word | None:
        """What a voter said, unless that is too old."""
        word = self.words.get(voter)
        fresh = word is not None and now.mono_ms - word.heard_ms <= limits.CONFIRM_LIFETIME_MS
        return word if fresh else None


def claims(old: Mapping[Key, Claim], was: Reading, reading: Reading, now: Now) -> dict[Key, Claim]:
    """The claims of a reading; one that was there already stays, with what was said of it."""
    found: dict[Key, Claim] = {}
    for key, takes in differences(was, reading).items():
        digest, before = reading.digest(key), old.get(key)
        if before is not None and before.digest == digest:
            found[key] = before
            continue
        found[key] = claimed(key, takes, reading, was.epoch, now.mono_ms)
    return found


def claimed(key: Key, takes: bool, reading: Reading, epoch: int, since_ms: int) -> Claim:
    """The claim of a reading about one thing; nobody said anything of it yet."""
    return Claim(
        digest=reading.digest(key),
        takes=takes,
        since_ms=since_ms,
        latest_block=reading.latest.block_number,
        final_block=reading.final.block_number,
        final_hash=reading.final.block_hash,
        epoch=epoch,
    )
