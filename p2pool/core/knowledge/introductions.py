"""Whom a bootstrap node keeps, and whom it names to a newcomer.

Intuition: keys and bindings cost nothing, so whoever fills the table, or the answers, with nodes of
its own keeps newcomers from all others. What costs something is a place in the roster, an address,
and time. So members by the chain come first, in turns of their providers; then everybody else, in
turns of address groups, and within a group of hosts. Of one host those come first that answered at
the address which they named, and then who came first. Made-up nodes, however many, share the turn
of the address that they come from.

Invariants: the largest group loses its youngest when the table is full, a provider with too many
its own; nobody's turn grows with its number; what was kept comes back from disk.
Source: docs/design/protocol.md, "Bootstrap nodes".
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from random import Random
from typing import Annotated

import attrs

from p2pool.codec.rows import put_record
from p2pool.core.effects import Effect, Persist
from p2pool.model import limits
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import Address, NodeId
from p2pool.model.ports.store import Delete

INTRODUCTIONS_TABLE = "introductions"


@attrs.frozen
class Introduced:
    """How a node came to be known: the host from which it connected, that host's address group, how
    many came before it, and whether something of the pool's kind answered where it says that it
    listens."""

    node_id: NodeId
    group: Annotated[bytes, bounded(bytes=limits.NAME_MAX_BYTES)]
    host: Annotated[bytes, bounded(bytes=limits.NAME_MAX_BYTES)]
    turn: int
    answered: bool = False


@attrs.define
class Host:
    """The nodes of one host, or of a member's: those that answered first, each in their order."""

    answered: dict[NodeId, None] = attrs.field(factory=dict)
    others: dict[NodeId, None] = attrs.field(factory=dict)

    def __len__(self) -> int:
        """How many they are."""
        return len(self.answered) + len(self.others)

    def __iter__(self) -> Iterator[NodeId]:
        """The first ones first."""
        yield from self.answered
        yield from self.others

    def youngest(self) -> NodeId:
        """The one that it can spare."""
        return next(reversed(self.others or self.answered))


@attrs.define
class Group:
    """The nodes that share a turn, by their hosts."""

    hosts: dict[bytes, Host] = attrs.field(factory=dict)
    count: int = 0

    def named(self, rng: Random) -> Iterator[NodeId]:
        """Its nodes, in turns of its hosts."""
        return in_turns(_turned(self.hosts, rng))

    def youngest(self) -> NodeId:
        """The one that it can spare."""
        return max(self.hosts.values(), key=len).youngest()


Groups = dict[bytes, Group]


@attrs.define
class Introductions:
    """The nodes that one bootstrap node knows, by whose turn they share."""

    rng: Random
    most: int = limits.INTRODUCTIONS_MAX
    rows: dict[NodeId, Introduced] = attrs.field(factory=dict)
    providers: Mapping[NodeId, Address] = attrs.field(factory=dict)
    _members: Groups = attrs.field(factory=dict)
    _others: Groups = attrs.field(factory=dict)
    _came: int = 0

    def restore(self, rows: Iterator[Introduced]) -> None:
        """Take back what was kept on disk."""
        for row in sorted(rows, key=lambda row: row.turn):
            self._place(row)
            self._came = row.turn + 1

    def met(self, node_id: NodeId, group: bytes, host: bytes) -> list[Effect]:
        """A node said hello from a host. One that moved begins again there."""
        old = self.rows.get(node_id)
        if old is not None and (old.group, old.host) == (group, host):
            return []
        return self._set(Introduced(node_id, group, host, self._next()))

    def answered(self, node_id: NodeId) -> list[Effect]:
        """What listens at the address that it named speaks as an agent does."""
        old = self.rows.get(node_id)
        if old is None or old.answered:
            return []
        return self._set(attrs.evolve(old, answered=True))

    def follow(self, providers: Mapping[NodeId, Address]) -> None:
        """The chain's members, and whose each is."""
        before, self.providers = self.providers, providers
        for node_id in {changed for changed, _ in before.items() ^ providers.items()}:
            row = self.rows.get(node_id)
            if row is not None:
                self._unplace(row, before)
                self._place(row)

    def surplus(self, came: NodeId) -> NodeId | None:
        """The one to forget, if there are too many now that a node came."""
        provider = self.providers.get(came)
        group = self._members.get(bytes(provider)) if provider is not None else None
        if group is not None and group.count > limits.INTRODUCTIONS_PER_PROVIDER_MAX:
            return group.youngest()
        if len(self.rows) <= self.most:
            return None
        crowded = max((self._others or self._members).values(), key=lambda group: group.count)
        return crowded.youngest()

    def forget(self, node_id: NodeId) -> list[Effect]:
        """A node is kept no longer."""
        row = self.rows.pop(node_id, None)
        if row is None:
            return []
        self._unplace(row, self.providers)
        return [Persist((Delete(INTRODUCTIONS_TABLE, bytes(node_id)),))]

    def named(self, count: int = limits.PEER_LIST_MAX) -> tuple[NodeId, ...]:
        """Whom to name: members first, each group in its turn, beginning anywhere."""
        found: list[NodeId] = []
        for groups in (self._members, self._others):
            turns = in_turns(group.named(self.rng) for group in _turned(groups, self.rng))
            found += islice(turns, count - len(found))
        return tuple(found)

    def _next(self) -> int:
        self._came += 1
        return self._came

    def _set(self, row: Introduced) -> list[Effect]:
        old = self.rows.get(row.node_id)
        if old is not None:
            self._unplace(old, self.providers)
        self._place(row)
        return [Persist((put_record(INTRODUCTIONS_TABLE, bytes(row.node_id), row),))]

    def _place(self, row: Introduced) -> None:
        self.rows[row.node_id] = row
        groups, name = self._where(row, self.providers)
        group = groups.setdefault(name, Group())
        host = group.hosts.setdefault(row.host, Host())
        (host.answered if row.answered else host.others)[row.node_id] = None
        group.count += 1

    def _unplace(self, row: Introduced, providers: Mapping[NodeId, Address]) -> None:
        groups, name = self._where(row, providers)
        group = groups[name]
        host = group.hosts[row.host]
        del (host.answered if row.answered else host.others)[row.node_id]
        group.count -= 1
        if not host:
            del group.hosts[row.host]
        if not group.count:
            del groups[name]

    def _where(self, row: Introduced, providers: Mapping[NodeId, Address]) -> tuple[Groups, bytes]:
        """Whose turn a node shares: its provider's, or its addresses'."""
        provider = providers.get(row.node_id)
        return (self._others, row.group) if provider is None else (self._members, bytes(provider))


def in_turns(each: "Iterator[Iterator[NodeId] | Host]") -> Iterator[NodeId]:
    """One of each, then the next of each, and so on; only as many are begun as are needed."""
    begun: deque[Iterator[NodeId]] = deque()
    for one in each:
        begun.append(iter(one))
        first = next(begun[-1], None)
        if first is None:
            begun.pop()
        else:
            yield first
    while begun:
        one_more = begun.popleft()
        found = next(one_more, None)
        if found is not None:
            begun.append(one_more)
            yield found


def _turned(table: "dict[bytes, Group] | dict[bytes, Host]", rng: Random) -> Iterator:  # type: ignore[type-arg]
    """The values of a table, beginning anywhere, so that nobody is always first."""
    values = list(table.values())
    begin = rng.randrange(len(values)) if values else 0
    return iter((*values[begin:], *values[:begin]))
