"""Keys and headers that never change, for tests of what is signed."""

from eth_account import Account
from nacl.signing import SigningKey

from p2pool.model.ids import Address, NodeId, PeerKey, PoolRef
from p2pool.model.messages.registry import Header

POOL = PoolRef(31337, Address(b"c" * 20), 1)
KEY = SigningKey(bytes(range(32)))
PEER_KEY = PeerKey(bytes(KEY.verify_key))
OTHER_KEY = SigningKey(bytes(32))
ACCOUNT = Account.from_key(b"a" * 32)
OTHER_ACCOUNT = Account.from_key(b"b" * 32)
NODE_ID = NodeId(bytes.fromhex(ACCOUNT.address[2:]))
NOW_MS = 1_800_000_000_000
NOW_S = NOW_MS // 1000
HEADER = Header(
    node_id=NODE_ID, peer_key=PEER_KEY, incarnation=NOW_MS - 60_000, sequence=7, sent_at_ms=NOW_MS
)
