"""How a pool gets its root: the chain starts it, and its data URI names the founder of its log.

A pool is created pending, started once, and founded by the root record of epoch 1 in its data URI,
which names the one agent that may begin the log (docs/design/chain.md, "The root record").
`start_pool` reads first and does whatever is missing, so it can be repeated; a founder stays the
founder. A recovery, in a new epoch, replaces a lost founder; a second start never does.
"""

from typing import TYPE_CHECKING

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import (
    ROOT_KEY,
    format_root,
    parse_root,
    read_root,
    with_root,
)
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, Malformed, NotAllowed
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


def rooted_uri(uri: str, wanted: RootRecord) -> str | None:
    """The data URI with this root, or None if it has it already. `Conflict`: another founds the
    pool.

    `Malformed` for a URI that is too long to read: rewriting it would lose part of it.
    """
    if len(uri.encode()) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(
            f"The pool's data URI has more than {limits.DATA_URI_MAX_BYTES} bytes.",
            hint="Have its creator or manager shorten it.",
        )
    there = read_root(uri)
    if there == wanted:
        return None
    if there is not None:
        raise Conflict(
            f"The pool already has a root record of epoch {there.epoch}, by another identity:"
            f" {format_root(there)}. Yours is {format_root(wanted)}.",
            hint="One identity founds a pool, once. If its data is lost, recover the pool in a new"
            " epoch instead of starting it again: p2pool pool recover --dry-run.",
        )
    return with_root(uri, wanted)


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
    uri = rooted_uri(info.data_uri, root)
    replaced = read_root(info.data_uri) is None and f"{ROOT_KEY}=" in info.data_uri
    pending = info.status is PoolStatus.PENDING
    sent: Sent | None = None
    if pending:
        await chain.start_pool(writer, pool_id)
    if uri is not None:
        sent = await chain.update_uri(writer, pool_id, uri)
    if sent is not None and sent.block_number >= 0:
        # Somebody else may have written between our read and our write.
        rooted_uri((await chain.pool(pool_id)).data_uri, root)
    return Started(
        pool_id=pool_id, root=root, started=pending, root_written=uri is not None, replaced=replaced
    )
