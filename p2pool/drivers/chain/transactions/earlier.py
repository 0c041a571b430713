"""What an account has on its way from before: it comes first, whatever is wanted now.

Intuition: whoever is shown what will be sent has to see what goes before it, since nothing queues
behind a transaction that is stuck (`writer`): it is brought home first, and may cost coin of its
own.

Invariants: nothing here sends, and nothing waits for another process; what nobody answers about is
on its way still.
"""

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.rpc import FIRST_BLOCK, Rpc
from p2pool.drivers.chain.transactions.journal import Journal
from p2pool.drivers.chain.transactions.record import PendingTransaction
from p2pool.model.errors import ChainUnavailable, WrongChain


async def first_block_hash(rpc: Rpc) -> str | None:
    """The hash of the chain's first block; None: the endpoint has forgotten it, or does not
    answer."""
    method, params = FIRST_BLOCK
    try:
        found = await rpc.request(method, *params, read=answers.block)
    except (ChainUnavailable, WrongChain):
        return None
    return None if found is None else found.hash


def is_of_chain(left: PendingTransaction, first_block: str | None) -> bool:
    """Whether it was sent on the chain with this first block: one that began anew has the same
    id."""
    return left.first_block is None or first_block is None or first_block == left.first_block


async def read_earlier(rpc: Rpc, journal: Journal) -> PendingTransaction | None:
    """What the account has on its way and no block has; None: nothing."""
    left = await journal.load()
    if left is None or not is_of_chain(left, await first_block_hash(rpc)):
        return None
    for attempt in reversed(left.attempts):
        try:
            asked = ("eth_getTransactionReceipt", attempt.hash)
            if await rpc.request(*asked, read=answers.receipt) is not None:
                return None
        except (ChainUnavailable, WrongChain):
            continue  # Unknown is not mined.
    return left
