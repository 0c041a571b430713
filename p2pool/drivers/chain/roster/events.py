"""What an event is about: which part of a pool's roster it may have changed.

Intuition: most events of a network's contracts are about others. One names a pool, a provider or a
node, and what it names is all that is read again: the pool, the list of members, or the rows of
some of them. An event that we do not know may mean anything, and costs a reading of everything.

Invariants: nothing here raises, whatever stands in an event; what is not plainly harmless, or
plainly about something, is about everything. A node that *left* another pool may have moved here
without a word (`changeComputePool` tells the destination nothing).
Source: the contracts' interface, `abi/`; docs/design/chain.md, "Following the chain".
"""

from collections.abc import Callable, Iterable
from functools import cache

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import events_first_of, topic
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.answers import WORD, Log
from p2pool.drivers.chain.root.contract import NAME as POOL_ROOT
from p2pool.drivers.chain.root.contract import contract_address
from p2pool.model import limits
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId

OF_POOL = ("ComputePoolCreated", "ComputePoolStarted", "ComputePoolEnded", "ComputePoolURIUpdated")
"""Events after which the pool itself is read again; those of its limit and of work change nothing
that a roster has."""
OF_MEMBERS = (
    "ComputePoolJoined",
    "ComputePoolLeft",
    "ComputePoolNodeEjected",
    "ComputePoolNodeBlacklisted",
    "ComputePoolProviderBlacklisted",
    "ComputePoolPurgedProvider",
)
"""Events after which the list of members is read again, and the rows of whom they name."""
LISTING = "ComputePoolJoined"
"""Names several nodes, in its data; others name one there, or none."""
_PADDING = bytes(WORD - ADDRESS_BYTES)


@attrs.frozen
class Touched:
    """What may have changed: everything (`whole`), the pool, the list of members, and the rows of
    these nodes and of these providers' nodes."""

    whole: bool = False
    pool: bool = False
    members: bool = False
    nodes: frozenset[NodeId] = frozenset()
    providers: frozenset[Address] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything may have changed."""
        return any((self.whole, self.pool, self.members, self.nodes, self.providers))

    def within(self, roster: ChainRoster) -> "Touched":
        """What of it concerns this roster's members; where their list changed, all of it does."""
        if self.whole or self.members or not (self.nodes or self.providers):
            return self
        nodes = self.nodes & {m.node_id for m in roster.members}
        providers = self.providers & {m.provider for m in roster.members}
        return attrs.evolve(self, nodes=nodes, providers=providers)

    def __or__(self, other: "Touched") -> "Touched":
        """What either may have changed."""
        nodes, providers = self.nodes | other.nodes, self.providers | other.providers
        return Touched(
            whole=self.whole or other.whole or len(nodes) > limits.MEMBERS_MAX,
            pool=self.pool or other.pool,
            members=self.members or other.members,
            nodes=nodes,
            providers=providers,
        )


NOTHING, EVERYTHING = Touched(), Touched(whole=True)


def roster_touch(at: Addresses, pool_id: int) -> Callable[[Log], Touched]:
    """Tells of each event what of a pool's roster it may have changed."""
    pools = address_text(at.pool).lower()
    others = {address_text(at.registry).lower(), address_text(at.network).lower()} - {pools}
    records = address_text(contract_address(at)).lower()
    stakes = {address_text(at.stakes).lower()} - {pools, records, *others}
    mine = "0x" + pool_id.to_bytes(WORD, "big").hex()

    def touch(event: Log) -> Touched:
        if event.removed or not event.topics:
            return EVERYTHING
        if event.address == pools:
            found = _of_pools(event, mine)
            # One deployment may be a single contract: then its other events are told there, too.
            return found if found is not None else EVERYTHING
        if event.address in stakes:
            return NOTHING
        if event.address == records:
            return _of_records(event, mine)
        if event.address in others and event.topics[0] in _provider_events():
            return _of_provider(event)
        return EVERYTHING

    return touch


def names(event: Log, account: Address) -> bool:
    """Whether an event names an account: among what is indexed or, as others' contracts do, in its
    data. One whose data nobody can read may."""
    word = _PADDING + account
    if event.data is None or "0x" + word.hex() in event.topics:
        return True
    return any(event.data[at : at + WORD] == word for at in range(0, len(event.data), WORD))


def touched_by(events: Iterable[Log], touch: Callable[[Log], Touched]) -> Touched:
    """What any of these events may have changed."""
    found = NOTHING
    for event in events:
        found |= touch(event)
        if found.whole:
            return EVERYTHING
    return found


def _of_pools(event: Log, mine: str) -> Touched | None:
    """An event of the contract of pools; None: not one that we know."""
    kinds = _pool_events()
    name = kinds.get(event.topics[0])
    if name is None or len(event.topics) < 2:
        return None
    if event.topics[1] != mine:
        # Whoever left another pool may be here now.
        return Touched(members=True) if name == "ComputePoolLeft" else NOTHING
    if name in OF_POOL:
        return Touched(pool=True)
    if name not in OF_MEMBERS:
        return NOTHING
    nodes = _nodes(name, event.data)
    provider = _address(event.topics[2]) if len(event.topics) > 2 else None
    if nodes is None or provider is None:
        return EVERYTHING
    named = frozenset({provider}) if not nodes else frozenset[Address]()
    return Touched(members=True, nodes=nodes, providers=named)


def _of_records(event: Log, mine: str) -> Touched:
    """An event of the contract of records, which serves all pools of a contract of pools."""
    if event.topics[0] not in events_first_of(POOL_ROOT, "poolId") or len(event.topics) < 2:
        return EVERYTHING
    return Touched(pool=True) if event.topics[1] == mine else NOTHING


def _nodes(name: str, data: bytes | None) -> frozenset[NodeId] | None:
    """The nodes that an event of members names in its data; None: they cannot be read."""
    if data is None or len(data) % WORD:
        return None
    words = [data[at : at + WORD] for at in range(0, len(data), WORD)]
    if name == LISTING:
        offset, count = (int.from_bytes(word, "big") for word in words[:2]) if words[1:] else (0, 0)
        if offset != WORD or count != len(words) - 2 or count > limits.MEMBERS_MAX:
            return None
        words = words[2:]
    elif len(words) > 1:
        return None
    if any(word[: WORD - ADDRESS_BYTES] != _PADDING for word in words):
        return None
    return frozenset(NodeId(word[-ADDRESS_BYTES:]) for word in words)


def _of_provider(event: Log) -> Touched:
    """An event about a provider, or about one of its nodes, which it names second."""
    if len(event.topics) < 2:
        return EVERYTHING
    provider = _address(event.topics[1])
    if provider is None:
        return EVERYTHING
    if event.topics[0] not in _node_events():
        return Touched(providers=frozenset({provider}))
    node = _address(event.topics[2]) if len(event.topics) > 2 else None
    return EVERYTHING if node is None else Touched(nodes=frozenset({NodeId(node)}))


def _address(word: str) -> Address | None:
    found = bytes.fromhex(word[2:])
    if len(found) != WORD or found[: WORD - ADDRESS_BYTES] != _PADDING:
        return None
    return Address(found[-ADDRESS_BYTES:])


@cache
def _pool_events() -> dict[str, str]:
    """The events that name a pool first, by topic."""
    known = events_first_of("ComputePool", "poolId")
    return {
        text: name
        for name in (*OF_POOL, *OF_MEMBERS, "ComputePoolLimitUpdated", "WorkSubmitted")
        if (text := "0x" + topic("ComputePool", name).hex()) in known
    }


@cache
def _provider_events() -> frozenset[str]:
    """The topics of the events of registry and network that name a provider first: either contract
    may be the one that tells."""
    return events_first_of("ComputeRegistry", "provider") | events_first_of(
        "PrimeNetwork", "provider"
    )


@cache
def _node_events() -> frozenset[str]:
    """Those of them that name a node second."""
    names = (
        ("ComputeRegistry", "ComputeNodeAdded"),
        ("ComputeRegistry", "ComputeNodeRemoved"),
        ("ComputeRegistry", "NodeValidationSet"),
        ("PrimeNetwork", "ComputeNodeAdded"),
        ("PrimeNetwork", "ComputeNodeRemoved"),
        ("PrimeNetwork", "ComputeNodeValidated"),
        ("PrimeNetwork", "ComputeNodeInvalidated"),
    )
    return frozenset("0x" + topic(contract, event).hex() for contract, event in names)
