"""Work that nodes submit to the chain: who judges it, what became of it, and plans around it.

Intuition: a pool belongs to a domain, and a domain may name a contract that judges work: it takes
each piece once, by a key of 32 bytes with a number of units, and a validator may take a piece back
within some time. Softly, its units count no more; hard, its node leaves pool and registry and its
provider is slashed, in one transaction. Our own contracts name no judge: there a piece is an event
that others read, and nobody can take it back.

Invariants: a piece is known by its key, which its provider chooses; what stands in events alone is
known as far as the way back goes, and no further. Who may is judged before anything is sent.
Source: tests/contracts/foreign/src/ForeignWork.sol for a judge's manners; docs/chain.md.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_text
from p2pool.drivers.chain.abi import Function, decoded, function, topic
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.provider.facts import NodeFacts, PoolFacts, Reading
from p2pool.drivers.chain.provider.plan import Call, Plan, Step
from p2pool.drivers.chain.provider.reads import Reader, reading
from p2pool.drivers.chain.validator.past_events import past_events
from p2pool.drivers.chain.validator.roles import Roles
from p2pool.model import limits
from p2pool.model.errors import Conflict, Malformed, NotAllowed, NotFound
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId
from p2pool.model.states import PoolStatus

# Other deployments' domains have more fields behind these; the first four are the same.
DOMAIN = Function(
    "DomainRegistry", "get(uint256)", ("uint256",), ("(uint256,string,address,string)",)
)
SOFT = Function(
    "PrimeNetwork",
    "softInvalidateWork(uint256,bytes)",
    ("uint256", "bytes"),
    ("address", "address", "uint256"),
)
HARD = Function(
    "PrimeNetwork", "invalidateWork(uint256,uint256,bytes)", ("uint256", "uint256", "bytes"), ()
)
PIECE = ("uint256", "address", "address", "bytes32", "uint256")
"""The data of each of a judge's events."""
OURS = ("address", "bytes")
"""The data of our pool contract's event; pool and provider are topics."""


class PieceState(StrEnum):
    """What became of a piece of work."""

    SUBMITTED = "submitted"
    REMOVED = "removed"
    INVALIDATED = "invalidated"


_FIELDS = "(uint256,address,address,bytes32,uint256)"
JUDGED: Mapping[str, PieceState] = {
    "0x" + keccak(text=f"Work{name}{_FIELDS}").hex(): state
    for name, state in (
        ("Submitted", PieceState.SUBMITTED),
        ("Removed", PieceState.REMOVED),
        ("Invalidated", PieceState.INVALIDATED),
    )
}
"""A judge's events by their first topic."""


@attrs.frozen
class Submission:
    """A piece of work as a node submits it."""

    key: bytes
    units: int

    def check(self) -> None:
        """`Malformed` for one that no judge takes."""
        if len(self.key) != limits.WORK_KEY_BYTES:
            raise Malformed(
                f"A key of work has {limits.WORK_KEY_BYTES} bytes, not {len(self.key)}.",
                hint="Take a hash of the work, such as its SHA-256 digest.",
            )
        if not 0 < self.units <= limits.CHAIN_WORD_MAX:
            raise Malformed("Work has at least one unit, and no more than a contract can count.")

    @property
    def data(self) -> bytes:
        """As a judge reads it: the key, and the units in 32 bytes."""
        return self.key + self.units.to_bytes(32, "big")


@attrs.frozen(kw_only=True)
class Piece:
    """A piece of work as the chain has it. `block`: where it became what it is."""

    key: bytes
    provider: Address
    node_id: NodeId
    units: int
    block: int
    state: PieceState


@attrs.frozen
class PastWork:
    """Pieces by their keys, of a pool, from the block `first_block` on."""

    first_block: int
    pieces: Mapping[bytes, Piece]


@attrs.frozen
class PoolWork:
    """Who judges a pool's work, and what was submitted lately."""

    pool_id: int
    judge: Reading[Address]
    past: Reading[PastWork]


# --- reads --------------------------------------------------------------------------------------


async def judge_of(reader: Reader, domain_id: int) -> Reading[Address]:
    """The contract that judges the work of a domain; absent where it names none."""

    async def ask() -> Address | None:
        found = await reader.chain.rpc.call(
            reader.chain.at.domains, DOMAIN, domain_id, block=reader.block
        )
        address = Address(bytes.fromhex(found[2][2:]))
        return address if any(address) else None

    return await reading(ask, in_list=True)


async def work_of(reader: Reader, pool_id: int, domain_id: int) -> PoolWork:
    """The judge of a pool's work, and the pieces that its events tell of."""
    judge = await judge_of(reader, domain_id)
    if judge.why:
        return PoolWork(pool_id, judge, Reading.unknown(judge.why))
    submitted = topic("ComputePool", "WorkSubmitted")
    at = reader.chain.at.pool if judge.value is None else judge.value
    topics = [submitted] if judge.value is None else [bytes.fromhex(one[2:]) for one in JUDGED]

    async def ask() -> PastWork:
        past = await past_events(reader.chain.rpc, at, topics, reader.block)
        return PastWork(past.first_block, pieces_of(past.events, pool_id))

    return PoolWork(pool_id, judge, await reading(ask))


def pieces_of(events: Sequence[Log], pool_id: int) -> dict[bytes, Piece]:
    """What became of each piece of a pool, by the events in their order."""
    found: dict[bytes, Piece] = {}
    for event in events:
        piece = _piece(event, pool_id)
        if piece is None:
            continue
        # Of a piece that is taken back softly, an event tells the units that were taken.
        known = found.get(piece.key)
        units = piece.units if known is None else known.units
        found[piece.key] = attrs.evolve(piece, units=units)
    return found


def _piece(event: Log, pool_id: int) -> Piece | None:
    """An event as a piece; None for another pool's, or one that is none."""
    if event.data is None or event.number is None:
        return None
    try:
        state = JUDGED.get(event.topics[0])
        if state is None:
            told = _submitted(event)
        elif len(event.topics) == 1:
            told = decoded(PIECE, event.data)
        else:
            return None
    except (DecodingError, ValueError):
        return None
    if told is None or told[0] != pool_id:
        return None
    _, provider, node, key, units = told
    return Piece(
        key=bytes(key),
        provider=Address(bytes.fromhex(provider[2:])),
        node_id=NodeId(bytes.fromhex(node[2:])),
        units=units,
        block=event.number,
        state=state or PieceState.SUBMITTED,
    )


def _submitted(event: Log) -> tuple[Any, ...] | None:
    """The event of our pool contract; None if its data is no key with units."""
    if len(event.topics) != 3 or event.data is None:
        return None
    node, data = decoded(OURS, event.data)
    if len(data) != limits.WORK_KEY_BYTES + 32:
        return None
    key, units = data[: limits.WORK_KEY_BYTES], int.from_bytes(data[limits.WORK_KEY_BYTES :], "big")
    provider = "0x" + event.topics[2][-2 * ADDRESS_BYTES :]
    return int(event.topics[1], 16), provider, node, key, units


# --- plans --------------------------------------------------------------------------------------


def submit_plan(
    at: Addresses, pool: PoolFacts, node: NodeFacts, work: PoolWork, piece: Submission, by: Address
) -> Plan:
    """A piece of work that a node has done, submitted by its provider, once."""
    piece.check()
    info, who = pool.need(), address_text(node.node_id)
    owner = None if node.registry.is_absent else node.registry.value
    if owner is None or not node.is_member:
        raise NotFound(
            f"The node {who} is not in pool {pool.pool_id}, so it submits no work there.",
            hint=f"Join first: p2pool pool join {who}.",
        )
    if owner.provider != by:
        raise NotAllowed(
            f"The node {who} belongs to the provider {address_text(owner.provider)}, and the key to"
            f" {address_text(by)}.",
            hint="Its provider submits its work: use that key.",
        )
    if info.status is not PoolStatus.ACTIVE:
        raise Conflict(f"Pool {pool.pool_id} is not active: it takes no work.")
    known = work.past.need("list of work").pieces.get(piece.key)
    if known is not None:
        return _submitted_before(known, node.node_id, by)
    call = Call(
        name="submitted",
        purpose=f"Submit {piece.units} units of work of {who}, with the key 0x{piece.key.hex()}.",
        to=at.pool,
        function=function("ComputePool", "submitWork"),
        arguments=(pool.pool_id, node.node_id, piece.data),
    )
    unjudged = ("Nobody judges work in this pool's domain: it stands on the chain as it is.",)
    return Plan(by, (call,), unjudged if work.judge.is_absent else ())


def _submitted_before(known: Piece, node_id: NodeId, by: Address) -> Plan:
    key = f"0x{known.key.hex()}"
    if known.state is not PieceState.SUBMITTED:
        raise Conflict(f"The work {key} was called invalid in block {known.block}: it stays so.")
    if known.node_id != node_id:
        raise Conflict(
            f"The work {key} was submitted for the node {address_text(known.node_id)} in block"
            f" {known.block}.",
            hint="A piece of work counts once: give each a key of its own.",
        )
    return Plan(by, (), (f"The work {key} was submitted in block {known.block}.",))


@attrs.frozen
class Invalidation:
    """How work is taken back: softly with `penalty_wei` None, else hard. `units`: of a piece that
    is taken back softly; None: all of it."""

    penalty_wei: int | None = None
    units: int | None = None


def invalidate_work_plan(
    at: Addresses,
    roles: Roles,
    work: PoolWork,
    keys: Sequence[bytes],
    how: Invalidation,
) -> Plan:
    """Pieces of work taken back, each by a transaction of the validator, each once."""
    roles.check_validator()
    if work.judge.is_absent:
        raise Conflict(
            f"Nobody judges work in the domain of pool {work.pool_id}, so none can be taken back on"
            " the chain. Nothing was sent.",
            hint="Act on the node instead: p2pool validator invalidate NODE.",
        )
    past = work.past.need("list of work")
    steps: list[Step] = []
    notes = []
    for key in keys:
        piece = past.pieces.get(key)
        if piece is None:
            raise NotFound(
                f"Pool {work.pool_id} has no work 0x{key.hex()} since block {past.first_block}."
                " Nothing was sent.",
                hint="Check the key; what was submitted long ago stands for good.",
            )
        if piece.state is not PieceState.SUBMITTED:
            notes.append(f"The work 0x{key.hex()} was {piece.state} in block {piece.block}.")
        else:
            steps.append(_taken_back(at, work.pool_id, piece, how))
    return Plan(roles.account, tuple(steps), tuple(notes))


def _taken_back(at: Addresses, pool_id: int, piece: Piece, how: Invalidation) -> Call:
    node, key = address_text(piece.node_id), f"0x{piece.key.hex()}"
    if how.penalty_wei is None:
        units = piece.units if how.units is None else how.units
        if not 0 < units <= piece.units:
            raise Malformed(f"The work {key} has {piece.units} units: {units} cannot be taken.")
        data = Submission(piece.key, units).data
        purpose = f"Take {units} of {piece.units} units of work {key} of {node} back."
        return Call(
            name="work removed",
            purpose=purpose,
            to=at.network,
            function=SOFT,
            arguments=(pool_id, data),
        )
    return Call(
        name="work invalidated",
        purpose=f"Call the work {key} invalid, take {tokens_text(how.penalty_wei)} from the"
        f" provider {address_text(piece.provider)}, and put {node} out of the pool and the"
        " registry.",
        to=at.network,
        function=HARD,
        arguments=(pool_id, how.penalty_wei, piece.key),
        asks=True,
    )
