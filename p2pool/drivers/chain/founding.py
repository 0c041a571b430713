"""How a pool gets its root: the chain starts it, and its root record names the founder of its log.

A pool is created pending, started once, and founded by the root record of epoch 1, which names the
one agent that may begin the log (docs/design/chain.md, "The root record"). The record stands in the
contract `PoolRoot`, or in the pool's data URI where the chain has no such contract.
`start_pool` reads first and does whatever is missing, so it can be repeated; a founder stays the
founder. A recovery, in a new epoch, replaces a lost founder; a second start never does.
"""

from typing import TYPE_CHECKING

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import (
    ROOT_KEY,
    format_root,
    moved_record,
    own_pairs,
    parse_root,
    requirements,
    with_root,
    without_own,
)
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import (
    Conflict,
    Malformed,
    NotAllowed,
    P2poolError,
    TransactionFailed,
)
from p2pool.model.ids import Address
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
    from p2pool.drivers.chain.transactions.writer import Sent, Writer


EPOCH = 1


def founder_of(text: str) -> RootRecord:
    """The root record of epoch 1 for `NODE_ID/PEER_ID/STORE_ID`; `Malformed` names the bad part."""
    if text.count("/") != 2:
        raise Malformed("A founder is NODE_ID/PEER_ID/STORE_ID, as `p2pool agent status` shows.")
    node, peer, store = (part.strip() for part in text.split("/"))
    hexes = [part.lower().removeprefix("0x") for part in (node, store)]
    return parse_root(f"{EPOCH}/{hexes[0]}/{peer}/{hexes[1]}")


def is_rooted(info: "PoolInfo", wanted: RootRecord) -> bool:
    """Whether the pool has this root record. `Conflict`: another founds the pool.

    `Malformed` for a data URI that is too long to read: what stands in it is unknown.
    """
    requirements(info.data_uri)
    there = info.root
    if there is not None and there != wanted:
        raise Conflict(
            f"The pool already has a root record of epoch {there.epoch}, by another identity:"
            f" {format_root(there)}. Yours is {format_root(wanted)}.",
            hint="One identity founds a pool, once. If its data is lost, recover the pool in a new"
            " epoch instead of starting it again: p2pool pool recover --dry-run.",
        )
    return there is not None


async def write_root(
    chain: "PoolContracts", writer: "Writer", info: "PoolInfo", root: RootRecord
) -> "Sent":
    """Write a root record where the pool's stands; of a pool without one, into `PoolRoot` if the
    chain has it, else into the data URI. The rest of either text stays as it is."""
    if info.is_recorded:
        record = with_root(info.record or "", root)
        return await chain.set_record(writer, info.pool_id, record)
    return await chain.update_uri(writer, info.pool_id, with_root(info.data_uri, root))


async def create_pool(
    chain: "PoolContracts", writer: "Writer", domain_id: int, manager: Address, asked: "NewPool"
) -> int:
    """Create a pool, with p2pool's own pairs in `PoolRoot` where the chain has it; returns its
    number, -1 in a dry run."""
    own = own_pairs(asked.data_uri)
    apart = bool(own) and await chain.has_root()
    uri = without_own(asked.data_uri) if apart else asked.data_uri
    limit = asked.compute_limit
    made = await chain.create_pool(writer, domain_id, manager, asked.name, uri, limit)
    try:
        if apart:
            # A dry run names the number that the pool would get now.
            pool_id = made if made >= 0 else await chain.next_pool_id(domain_id, manager)
            await chain.set_record(writer, pool_id, own)
    except P2poolError as error:
        raise TransactionFailed(
            f"Pool {made} was created, and its bootstrap addresses were not written:"
            f" {error.message}",
            hint=f"Go on with pool {made}, and name them in [network] bootstrap of each agent.",
        ) from error
    return made


async def move_record(chain: "PoolContracts", writer: "Writer", info: "PoolInfo") -> "Moved":
    """Bring p2pool's own pairs from a pool's data URI into `PoolRoot`, which is created where it is
    missing, and leave nothing but requirements behind. Safe to repeat.

    The pairs are written and read back before they are taken away: at no block has the pool less
    than it had.
    """
    wanted, created = moved_record(info.data_uri, info.record), info.record is None
    if created:
        await chain.create_root(writer)
    recorded = wanted != (info.record or "")
    if recorded:
        sent = await chain.set_record(writer, info.pool_id, wanted)
        if sent.block_number >= 0 and (await chain.pool(info.pool_id)).record != wanted:
            raise Conflict(
                f"Somebody else wrote the record of pool {info.pool_id} at the same time.",
                hint="See what stands there: p2pool pool root. Then begin again.",
            )
    rest = without_own(info.data_uri)
    if rest != info.data_uri:
        await chain.update_uri(writer, info.pool_id, rest)
    return Moved(wanted, created, recorded, rest != info.data_uri)


def check_may_start(info: "PoolInfo", account: Address) -> None:
    """`Conflict` if the pool has ended, `NotAllowed` if the account does not manage it."""
    if info.status is PoolStatus.COMPLETED:
        raise Conflict(
            f"Pool {info.pool_id} has ended.", hint="Create another: p2pool pool create."
        )
    check_keeper(info, account)


def check_keeper(info: "PoolInfo", account: Address) -> None:
    """`NotAllowed` if the account is neither the pool's creator nor its manager."""
    if account not in (info.creator, info.manager):
        raise NotAllowed(
            f"{address_text(account)} is neither the creator"
            f" ({address_text(info.creator)}) nor the manager"
            f" ({address_text(info.manager)}) of pool {info.pool_id}.",
            hint="Use the key of one of them.",
        )


@attrs.frozen
class Moved:
    """What `move_record` did, and the record that stands now."""

    record: str
    created: bool
    recorded: bool
    cleaned: bool


@attrs.frozen
class NewPool:
    """What a new pool is called and holds. `data_uri`: requirements and p2pool's own pairs;
    `compute_limit` in units, 0: none."""

    name: str
    data_uri: str = ""
    compute_limit: int = 0


@attrs.frozen
class Started:
    """What `start_pool` found and did. `replaced`: it replaced an unreadable root record."""

    pool_id: int
    root: RootRecord
    started: bool
    root_written: bool
    replaced: bool


async def start_pool(
    chain: "PoolContracts", writer: "Writer", pool_id: int, root: RootRecord
) -> Started:
    """Do whatever is missing, after checking all of it.

    Raises `Conflict`, `NotAllowed`, `NotFound`, `TransactionFailed` or `ChainUnavailable`; it is
    safe to call again after any of them.
    """
    info = await chain.pool(pool_id)
    check_may_start(info, writer.address)
    rooted = is_rooted(info, root)
    texts = (info.data_uri, info.record or "")
    replaced = info.root is None and any(f"{ROOT_KEY}=" in text for text in texts)
    pending = info.status is PoolStatus.PENDING
    sent: Sent | None = None
    if pending:
        await chain.start_pool(writer, pool_id)
    if not rooted:
        sent = await write_root(chain, writer, info, root)
    if sent is not None and sent.block_number >= 0:
        # Somebody else may have written between our read and our write.
        is_rooted(await chain.pool(pool_id), root)
    return Started(
        pool_id=pool_id, root=root, started=pending, root_written=not rooted, replaced=replaced
    )
