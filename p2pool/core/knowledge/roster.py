"""Who belongs to the pool, as far as this node can tell from the chain: in, out or unknown.

Intuition: a join counts as soon as it is seen (latest minus k), so that a newcomer is welcome at
once; whatever takes a right away counts only once it is final, so that a reorganisation ejects
nobody. One endpoint may lie, so where there are voters to ask (`guarded`), a change counts only
once it is confirmed (`voter.chain_agreement`): `reading` is what our endpoints say, `latest` and
`final` what this node goes by. Without the chain the last roster stands and grows old; it is on
disk, so a restart without the chain still has it.

Invariants: unknown never means gone; membership moves only along `states.MEMBERSHIP`; the roster
remembers a node that was in and is finally out as left. `out_finally` is what stops its tasks.
Source: docs/design/chain.md, "The roster"; docs/design/health.md, "Membership".
"""

from collections.abc import Iterable, Mapping

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import encode_record
from p2pool.core.chain_claims import (
    NOBODY,
    Claim,
    Fact,
    Key,
    Reading,
    claims,
    merged,
    unruled,
)
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainMember, ChainRoster
from p2pool.model.errors import Malformed
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, NodeId
from p2pool.model.ports.store import PersistOp, Put
from p2pool.model.states import (
    MEMBERSHIP,
    MEMBERSHIP_DEADLINES,
    ChainStanding,
    Membership,
    MembershipEvent,
    PoolStatus,
    advance,
)
from p2pool.model.timing import Now

META_TABLE = "meta"
ROSTER_KEY = b"roster.final"
ROW_MAX_BYTES = limits.STORE_VALUE_MAX_BYTES
NO_BLOCK = Digest(bytes(DIGEST_BYTES))


@attrs.frozen
class MembershipSince:
    """A node's membership and since when, on the monotonic clock."""

    membership: Membership
    since_ms: int


Right = tuple[NodeId | None, Address]
"""A node and its provider, or no node and whoever ruled the pool."""


@attrs.define
class FormerRights:
    """What accounts could do until lately: whoever reads the chain late still asks, and leads, by
    the old roster. `until_ms`: on the monotonic clock."""

    until_ms: BoundedDict[Right, int] = attrs.field(
        factory=lambda: BoundedDict(limits.FORMER_RIGHTS_KEPT_MAX)
    )

    def note(
        self,
        old: ChainRoster,
        before: Mapping[NodeId, ChainMember],
        new: ChainRoster,
        after: Mapping[NodeId, ChainMember],
        now: Now,
    ) -> None:
        """Another roster counts: keep what it takes from anybody. `before`, `after`: the members,
        where they may have changed."""
        until_ms = now.mono_ms + limits.FORMER_RIGHTS_MS
        for account in (old.creator, old.manager):
            if account not in (new.creator, new.manager):
                self.until_ms.renew((None, account), until_ms)
        for node_id, member in before.items():
            known = after.get(node_id)
            if known is None or (known is not member and known.provider != member.provider):
                self.until_ms.renew((node_id, member.provider), until_ms)

    def holds(self, node_id: NodeId | None, account: Address, now: Now) -> bool:
        """Whether an account had a right within the last minutes."""
        return now.mono_ms < self.until_ms.get((node_id, account), 0)


@attrs.define
class Roster:
    """The latest and the final roster, and each node's membership. `asked`: the chain was asked
    since the start. `reading`: what our endpoints say; `claims`: what of it is not confirmed yet.
    `guarded`: whether there is anybody to confirm it. `withdrawn`: a root record that this node
    went by, and that the voters never read. `former`: rights that the roster took lately."""

    latest: ChainRoster | None = None
    final: ChainRoster | None = None
    reading: Reading | None = None
    claims: dict[Key, Claim] = attrs.field(factory=dict)
    guarded: bool = False
    withdrawn: RootRecord | None = None
    observed_ms: int | None = None
    problem: str | None = None
    asked: bool = False
    tick_due_ms: int = 0
    standings: BoundedDict[NodeId, MembershipSince] = attrs.field(
        factory=lambda: BoundedDict(limits.PEERS_TRACKED_MAX)
    )
    former: FormerRights = attrs.field(factory=FormerRights)
    _in_latest: dict[NodeId, ChainMember] = attrs.field(factory=dict)
    _in_final: dict[NodeId, ChainMember] = attrs.field(factory=dict)
    _gone: BoundedDict[NodeId, ChainMember] = attrs.field(
        factory=lambda: BoundedDict(limits.LEFT_KEPT_MAX)
    )
    _kept: ChainRoster | None = None
    _accepted: Reading | None = None

    # --- what the chain says ----------------------------------------------------------------------

    def restore(self, kept: bytes | None, now: Now) -> None:
        """Use the roster from disk until the chain says more."""
        if kept is None:
            return
        try:
            roster = decode_struct(ChainRoster, kept)
        except Malformed:
            return
        self._accepted = Reading.of(roster, roster, None)
        self._take(roster, roster, now)
        self._kept = roster
        self.problem = "this agent has not read it since its start"

    def observe(
        self, latest: ChainRoster, final: ChainRoster, now: Now, warning: str | None = None
    ) -> list[PersistOp]:
        """Hear what our endpoints say, and go by it as far as it counts; return what to write to
        disk."""
        self.observed_ms, self.problem, self.asked = now.mono_ms, warning, True
        self.reading = reading = Reading.of(latest, final, self.reading)
        if not self.guarded:
            self.claims = {}
            return self._adopt(reading, now)
        was = self._accepted or unruled(reading)
        self.claims = claims(self.claims, was, reading, now)
        return self._adopt(merged(was, reading, self.claims), now)

    def accept(self, keys: Iterable[Key], now: Now) -> list[PersistOp]:
        """These claims count from now on; return what to write to disk."""
        was, reading = self._accepted, self.reading
        assert was is not None
        assert reading is not None
        for key in keys:
            if key is Fact.ROOT and reading.epoch < was.epoch:
                self.withdrawn = was.final.root
            del self.claims[key]
        return self._adopt(merged(was, reading, self.claims), now)

    def _adopt(self, accepted: Reading, now: Now) -> list[PersistOp]:
        """Go by these rosters; return what to write to disk."""
        self._accepted, final = accepted, accepted.final
        self._take(accepted.latest, final, now)
        if self._kept is not None and _content(self._kept) == _content(final):
            return []
        self._kept = final
        # A roster too large for a row comes from the chain again at the next start.
        kept, version = encode_record(final)
        fits = len(kept) <= ROW_MAX_BYTES
        return [Put(META_TABLE, ROSTER_KEY, kept, version)] if fits else []

    def unreachable(self, reason: str) -> None:
        """No endpoint can read the chain: only the reported problem changes."""
        self.problem, self.asked = reason, True

    def _take(self, latest: ChainRoster, final: ChainRoster, now: Now) -> None:
        before, old, was = {**self._in_final, **self._in_latest}, self.latest, self.final
        self.latest, self.final = latest, final
        self._in_latest = {m.node_id: m for m in latest.members}
        self._in_final = {m.node_id: m for m in final.members}
        if old is not None and was is not None:
            same = latest.members is old.members and final.members is was.members
            after = {**self._in_final, **self._in_latest}
            self.former.note(old, {} if same else before, latest, after, now)
        for member in latest.members:
            self._move(member.node_id, MembershipEvent.JOINED, now)
        for node_id in tuple(self.standings):
            if not self.belongs(node_id):
                self._move(node_id, MembershipEvent.LEFT_POOL, now)
                if node_id in before:
                    self._gone[node_id] = before[node_id]

    # --- what a node hears ------------------------------------------------------------------------

    def heard(self, node_id: NodeId, now: Now) -> None:
        """A member's heartbeat came."""
        self._move(node_id, MembershipEvent.HEARTBEAT_SEEN, now)

    def invited(self, node_id: NodeId, now: Now) -> None:
        """This node keeps an invite for it."""
        self._move(node_id, MembershipEvent.INVITE_SEEN, now)

    def invite_expired(self, node_id: NodeId, now: Now) -> None:
        """Its invite has expired."""
        self._move(node_id, MembershipEvent.INVITE_EXPIRED, now)

    def tick(self, now: Now) -> None:
        """End the states that lasted too long; checked once a second."""
        if now.mono_ms < self.tick_due_ms:
            return
        self.tick_due_ms = now.mono_ms + limits.ROSTER_TICK_MS
        for node_id, standing in tuple(self.standings.items()):
            rule = MEMBERSHIP_DEADLINES.get(standing.membership)
            if rule is not None and now.mono_ms >= standing.since_ms + rule[1]:
                self._move(node_id, rule[0], now)

    def wakeup_ms(self) -> int | None:
        """Nothing wakes a node for this alone: every step checks it."""
        return None

    def _move(self, node_id: NodeId, event: MembershipEvent, now: Now) -> None:
        old = self.standings.get(node_id) or MembershipSince(Membership.APPLICANT, now.mono_ms)
        new = advance(MEMBERSHIP, old.membership, event)
        if new is not None:
            self.standings[node_id] = MembershipSince(new, now.mono_ms)

    # --- what it means ----------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether this node has any roster."""
        return self.latest is not None

    @property
    def root(self) -> RootRecord | None:
        """The root record, from finalized blocks only."""
        return self.final.root if self.final is not None else None

    @property
    def root_block(self) -> int:
        """The final block in which we read the root record."""
        return self.final.block_number if self.final is not None else 0

    @property
    def ended(self) -> bool:
        """Whether finalized blocks say that the pool has ended: nothing may run in it any more."""
        return self.final is not None and self.final.status is PoolStatus.COMPLETED

    def belongs(self, node_id: NodeId) -> bool:
        """Whether a node is in the pool at the latest block, or not yet finally out."""
        return node_id in self._in_latest or node_id in self._in_final

    def member(self, node_id: NodeId) -> ChainMember | None:
        """What the chain says of a member."""
        return self._in_latest.get(node_id) or self._in_final.get(node_id)

    def eligible(self, node_id: NodeId) -> bool:
        """Whether a node may get work: only final blocks take that right away."""
        if not self.belongs(node_id):
            return False
        final = self._in_final.get(node_id)
        return final.eligible if final is not None else self._in_latest[node_id].eligible

    def out_finally(self, node_id: NodeId) -> bool:
        """Whether we have finalized blocks and they say that a node is not in the pool."""
        return self.final is not None and not self.belongs(node_id)

    def barred(self, node_id: NodeId) -> bool:
        """Whether finalized blocks read since the start bar a node from the committee: it is not in
        the pool, or not eligible."""
        if self.final is None or self.observed_ms is None:
            return False
        if not self.belongs(node_id):
            return True
        member = self._in_final.get(node_id)
        return member is not None and not member.eligible

    def reads_out(self, node_id: NodeId) -> bool:
        """Whether our own endpoints bar a node from the committee, confirmed or not: for what needs
        the other voters' word anyway, and for declining to lead."""
        return self.standing(node_id, 0)[0] is ChainStanding.OUT

    def standing(self, node_id: NodeId, block: int) -> tuple[ChainStanding, int]:
        """A node's standing by our own endpoints, confirmed or not, at a final block not older than
        `block`."""
        reading = self.reading
        if reading is None:
            return ChainStanding.UNKNOWN, 0
        final_block = reading.final.block_number
        if final_block < block:
            return ChainStanding.UNKNOWN, final_block
        member = reading.members.get(node_id)
        out = member is None or not member.eligible
        return ChainStanding.OUT if out else ChainStanding.IN, final_block

    def is_current(self, time_ms: int) -> bool:
        """Whether we have read the chain so lately that a right unknown here is none."""
        latest = self.latest
        if latest is None or latest.creator == latest.manager == NOBODY:
            return False  # Nobody has confirmed yet who rules.
        return time_ms - latest.block_time_ms <= limits.CHAIN_TIME_LAG_MS

    def rules(self, account: Address, now: Now) -> bool:
        """Whether an account is the pool's creator or manager, or was lately."""
        latest = self.latest
        if account == NOBODY or latest is None:
            return False
        if account in (latest.creator, latest.manager):
            return True
        return self.former.holds(None, account, now)

    def provides(self, node_id: NodeId, account: Address, now: Now) -> bool:
        """Whether a node is an account's, or was lately."""
        member = self.member(node_id)
        if account == NOBODY:
            return False
        if member is not None and member.provider == account:
            return True
        return self.former.holds(node_id, account, now)

    def membership(self, node_id: NodeId) -> Membership:
        """A node's membership; one never seen is an applicant."""
        standing = self.standings.get(node_id)
        return standing.membership if standing is not None else Membership.APPLICANT

    def outside(self) -> tuple[ChainMember, ...]:
        """Known nodes outside the pool: invited here, or left lately, sorted."""
        shown = (Membership.INVITED, Membership.LEFT)
        names = sorted(n for n, s in self.standings.items() if s.membership in shown)
        return tuple(
            attrs.evolve(self._gone[n], eligible=False)
            if n in self._gone
            else ChainMember(n, NOBODY, False)
            for n in names[: limits.LEFT_KEPT_MAX]
        )

    def size(self) -> int:
        """How many members the pool has."""
        return len(self._in_latest)

    def members(self) -> tuple[ChainMember, ...]:
        """All that belong, sorted by node id."""
        names = sorted(dict.fromkeys((*self._in_latest, *self._in_final)))
        found = (self.member(name) for name in names)
        return tuple(m for m in found if m is not None)

    def age_ms(self, now: Now) -> int:
        """The age of our roster; -1 if we have none."""
        if self.latest is None:
            return -1
        if self.observed_ms is not None:
            return now.mono_ms - self.observed_ms
        return max(0, now.wall_ms - self.latest.block_time_ms)


def _content(roster: ChainRoster) -> ChainRoster:
    """A roster without its block: the content, not the time."""
    return attrs.evolve(roster, block_number=0, block_hash=NO_BLOCK, block_time_ms=0)
