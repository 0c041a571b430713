"""A transaction on its way, as a journal keeps it."""

from p2pool.drivers.chain.transactions.fees import Fees
from p2pool.drivers.chain.transactions.record import Attempt, Call, PendingTransaction
from p2pool.model.ids import Address

ACCOUNT, TO = Address(bytes(range(20))), Address(b"\x22" * 20)
OLD = Attempt("0x" + "ab" * 32, Fees(11, 2), 1_700_000_000_000, 99)
NEW = Attempt("0x" + "cd" * 32, Fees(14, 3), 1_700_000_005_000, 101)
KEPT = PendingTransaction(
    chain_id=1,
    first_block="0x" + "01" * 32,
    account=ACCOUNT,
    nonce=5,
    call=Call("approve", TO, b"\x01\x02"),
    gas=46_000,
    attempts=(OLD, NEW),
    raw=b"\x02\xf8",
)
