"""What the follower has seen of the chain and is not final yet: heads, changes, events.

Intuition: each head is the block that we follow some polls later, so it is not asked for twice. A
change of the roster is kept with the block that brought it, so that the final block, when it comes
that far, needs no reading of its own: the state of a block that old may be gone.

Invariants: everything here is bounded; a change is never dated before the block that brought it, so
the final roster may be late, never early; a hash that contradicts what is kept drops it.
"""

from collections import deque
from collections.abc import Iterable

import attrs

from p2pool.drivers.chain.answers import Block, Log
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.roster import ChainRoster


@attrs.frozen
class Read:
    """What was read of the contracts: as of which block, by whom, and whether another endpoint
    reads the same."""

    block: Block
    roster: ChainRoster
    by: str = attrs.field(repr=False)
    agreed: bool = False


@attrs.frozen
class Change:
    """A roster, and the block from which on it is like that."""

    number: int
    hash: str
    read: Read


@attrs.define
class Trail:
    """The blocks that are followed, from the final one to the newest. `covered`: events are known
    after this block."""

    covered: int = 0
    changes: list[Change] = attrs.field(factory=list)
    _heads: deque[Block] = attrs.field(
        factory=lambda: deque[Block](maxlen=limits.CHAIN_HEADERS_MAX)
    )
    _hashes: BoundedDict[int, str] = attrs.field(
        factory=lambda: BoundedDict[int, str](limits.CHAIN_HEADERS_MAX)
    )
    _events: BoundedDict[Log, None] = attrs.field(
        factory=lambda: BoundedDict[Log, None](limits.CHAIN_EVENTS_MAX)
    )

    # --- heads ------------------------------------------------------------------------------------

    def link(self, head: Block) -> None:
        """Hear of a new head; one that does not fit to the last takes back those before it."""
        last = self._heads[-1] if self._heads else None
        if last is not None:
            if last.hash == head.hash:
                return
            if head.number <= last.number or (
                head.number == last.number + 1 and head.parent != last.hash
            ):
                self._heads.clear()
        self._heads.append(head)
        self.note(head)

    def note(self, block: Block) -> None:
        """This is the block of its height."""
        self._hashes.renew(block.number, block.hash)

    def head_at_most(self, number: int) -> Block | None:
        """The newest head up to a height; those up to it are not given again."""
        found = None
        while self._heads and self._heads[0].number <= number:
            found = self._heads.popleft()
        return found

    def forget_heads(self) -> None:
        """What was said of heads did not hold."""
        self._heads.clear()

    def contradicts(self, number: int, hash_text: str) -> bool:
        """Whether another block of this height was seen."""
        return self._hashes.get(number, hash_text) != hash_text

    # --- events -----------------------------------------------------------------------------------

    def fresh(self, events: Iterable[Log]) -> list[Log]:
        """Those that were not taken into account yet."""
        return [event for event in events if event not in self._events]

    def take(self, events: Iterable[Log]) -> None:
        """They are in what was read."""
        for event in events:
            self._events.renew(event, None)

    # --- changes ----------------------------------------------------------------------------------

    def add(self, read: Read, cause: Log | None) -> None:
        """The roster changed: with the block of `cause`, else, or if we hear of that late, with
        that of the reading. Beyond the bound the oldest that are not final go: then the final
        roster is late."""
        number, hash_text = read.block.number, read.block.hash
        last = self.changes[-1] if self.changes else None
        if (
            cause is not None
            and cause.number is not None
            and cause.block is not None
            and (last is None or cause.number > last.number)
        ):
            number, hash_text = cause.number, cause.block
        if last is not None and number <= last.number:
            self.changes.pop()
        self.changes.append(Change(number, hash_text, read))
        if len(self.changes) > limits.CHAIN_CHANGES_MAX:
            del self.changes[1]

    def restart(self, final: int) -> None:
        """The chain took blocks back: what changed after the final block may not have."""
        self.changes = [change for change in self.changes if change.number <= final][-1:]
        self._heads.clear()

    def confirm(self, read: Read) -> None:
        """Another endpoint reads the same: that counts for the change that brought it."""
        if self.changes:
            self.changes[-1] = attrs.evolve(
                self.changes[-1], read=attrs.evolve(self.changes[-1].read, agreed=read.agreed)
            )

    def at(self, number: int) -> Change | None:
        """The change that a block of this height goes by."""
        return next((c for c in reversed(self.changes) if c.number <= number), None)

    def settle(self, final: Read) -> None:
        """This is final: of what was before it, nothing is of use any more."""
        number = final.block.number
        later = [c for c in self.changes if c.number > number]
        self.changes = [Change(number, final.block.hash, final), *later]
