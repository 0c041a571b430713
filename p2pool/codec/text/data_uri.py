"""The pool's data URI and its record: requirement pairs, the root record, bootstrap addresses.

The form is that of the network's requirement strings, `key:sub=value;key:sub=value;...`. p2pool
reads and writes `p2pool:root` and `p2pool:bootstrap` (once for each address); a rewrite keeps
everything else as it stands, in its place, to the byte.

Two texts of this form state a pool: its data URI, which other tools of the network read, and its
record in the contract `PoolRoot`, which holds nothing but p2pool's own pairs. Those tools refuse a
whole data URI for one key that they do not know, and no key of theirs takes a text that means
nothing to them; so p2pool's pairs stand in the record where the chain has that contract. Both are
read: of two root records the one of the higher epoch counts, and of one epoch the contract's.

A root record is
    <epoch>/<node id>/<peer id>/<store id>[/<previous log id>/<base index>/<state digest>]
with hex for all but the peer id, which is written as libp2p does. A state digest is 66 digits, the
first two of them its algorithm; the 64 that release 0.1.0 wrote are one of algorithm 0.
"""

from p2pool.codec.text.peer_id import peer_id, peer_key_of
from p2pool.model import limits
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import (
    ADDRESS_BYTES,
    DIGEST_BYTES,
    STATE_DIGEST_BYTES,
    STORE_ID_BYTES,
    Digest,
    NodeId,
    StateDigest,
    StoreId,
)
from p2pool.model.log.state_digests import DigestAlgorithm, algorithm_of, state_digest

ROOT_KEY = "p2pool:root"
BOOTSTRAP_KEY = "p2pool:bootstrap"
OWN_PREFIX = "p2pool:"


def parse_root(text: str) -> RootRecord:
    """Read a root record; `Malformed` names the part that is wrong."""
    parts = text.split("/")
    if len(parts) not in (4, 7):
        raise Malformed(f"A root record has 4 or 7 parts, not {len(parts)}.")
    epoch = _number(parts[0], "epoch")
    if epoch < 1:
        raise Malformed("The epoch of a root record begins at 1.")
    previous = None
    if len(parts) == 7:
        previous = PreviousLog(
            Digest(_hex(parts[4], DIGEST_BYTES, "previous log id")),
            _number(parts[5], "base index"),
            _state_digest(parts[6]),
        )
    return RootRecord(
        epoch=epoch,
        founder=NodeId(_hex(parts[1], ADDRESS_BYTES, "node id")),
        peer_key=peer_key_of(parts[2]),
        store_id=StoreId(_hex(parts[3], STORE_ID_BYTES, "store id")),
        previous=previous,
    )


def format_root(root: RootRecord) -> str:
    """Write a root record; the inverse of `parse_root`."""
    parts = [str(root.epoch), root.founder.hex(), peer_id(root.peer_key), root.store_id.hex()]
    if root.previous is not None:
        previous = root.previous
        parts += [previous.log_id.hex(), str(previous.base_index), _digest_text(previous)]
    return "/".join(parts)


def read_root(uri: str) -> RootRecord | None:
    """The root record of a data URI, or None if it is absent or cannot be read.

    An unreadable record founds nothing, as if it were absent, and status says so.
    """
    values = _values(uri, ROOT_KEY)
    if len(values) != 1:
        return None
    try:
        return parse_root(values[0])
    except Malformed:
        return None


def read_bootstrap(uri: str) -> tuple[str, ...]:
    """The bootstrap addresses of a data URI, in order, without any that is too long to keep."""
    fit = (v for v in _values(uri, BOOTSTRAP_KEY) if v and _size(v) <= limits.TEXT_MAX_BYTES)
    return tuple(fit)[: limits.PEER_LIST_MAX]


def stated_root(uri: str, record: str | None) -> RootRecord | None:
    """The root record that counts, of a data URI and a record (None: there is no `PoolRoot`)."""
    there, own = read_root(uri), read_root(record or "")
    if own is None or (there is not None and there.epoch > own.epoch):
        return there
    return own


def stated_bootstrap(uri: str, record: str | None) -> tuple[str, ...]:
    """The bootstrap addresses that count: the record's, or the data URI's if it has none."""
    return read_bootstrap(record or "") or read_bootstrap(uri)


def requirements(uri: str) -> str:
    """The data URI without p2pool's own pairs: the pool's requirements for hardware.

    `Malformed` if it is too long to be read: what a pool asks for is then unknown, not nothing.
    """
    if _size(uri) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(
            f"The pool's data URI has {_size(uri)} bytes; at most {limits.DATA_URI_MAX_BYTES} are"
            " read.",
            hint="Its creator or manager shortens it: p2pool pool set-requirements.",
        )
    return without_own(uri)


def without_own(uri: str) -> str:
    """A text of any length without p2pool's own pairs."""
    return ";".join(p for p in uri.split(";") if not _key(p).startswith(OWN_PREFIX))


def own_pairs(uri: str) -> str:
    """p2pool's own pairs of a text of any length."""
    return ";".join(p.strip() for p in uri.split(";") if _key(p).startswith(OWN_PREFIX))


def moved_record(uri: str, record: str | None) -> str:
    """The record that says alone what a data URI and a record say together."""
    own = own_pairs(record or "") or own_pairs(uri)
    rest = ";".join(p for p in own.split(";") if p and _key(p) not in (ROOT_KEY, BOOTSTRAP_KEY))
    root, addresses = stated_root(uri, record), stated_bootstrap(uri, record)
    made = rest if root is None else with_root(rest, root)
    return with_bootstrap(made, addresses) if addresses else made


def with_requirements(uri: str, wanted: str) -> str:
    """The data URI with these requirements before p2pool's own pairs; the old ones may be longer
    than what is read."""
    return _fit(";".join(text for text in (wanted, own_pairs(uri)) if text))


def with_root(uri: str, root: RootRecord) -> str:
    """The data URI with this root record in place of any other."""
    return _with(uri, ROOT_KEY, (format_root(root),))


def with_bootstrap(uri: str, addresses: tuple[str, ...]) -> str:
    """The data URI with these bootstrap addresses in place of any others."""
    for address in addresses:
        if ";" in address or not address.startswith("/"):
            raise Malformed(f"{address!r} is not a multiaddr.")
    return _with(uri, BOOTSTRAP_KEY, addresses)


def _with(uri: str, key: str, values: tuple[str, ...]) -> str:
    kept = [p for p in uri.split(";") if _key(p) != key]
    # An empty text is no pair, and an empty part among others is kept: it is somebody's.
    kept = [] if kept == [""] else kept
    return _fit(";".join([*kept, *(f"{key}={value}" for value in values)]))


def _fit(made: str) -> str:
    if made.encode(errors="replace").decode() != made:
        raise Malformed("A data URI is text in UTF-8, and this has something else.")
    if _size(made) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(f"A data URI has at most {limits.DATA_URI_MAX_BYTES} bytes.")
    return made


def _key(pair: str) -> str:
    return pair.partition("=")[0].strip()


def _size(text: str) -> int:
    """The bytes of a text; a command's arguments may hold what UTF-8 cannot carry."""
    return len(text.encode(errors="replace"))


def _values(uri: str, key: str) -> list[str]:
    if _size(uri) > limits.DATA_URI_MAX_BYTES:
        return []
    return [p.partition("=")[2].strip() for p in uri.split(";") if _key(p) == key]


def _state_digest(text: str) -> StateDigest:
    if len(text) == 2 * DIGEST_BYTES:
        made = Digest(_hex(text, DIGEST_BYTES, "state digest"))
        return state_digest(DigestAlgorithm.ARRAY, made)
    named = StateDigest(_hex(text, STATE_DIGEST_BYTES, "state digest"))
    if algorithm_of(named) is DigestAlgorithm.ARRAY:
        raise Malformed("The state digest of a root record names algorithm 0 by being shorter.")
    return named


def _digest_text(previous: PreviousLog) -> str:
    """As it was written first: a record that is read and written anew stays what it was."""
    made = previous.state_digest
    return (made[1:] if algorithm_of(made) is DigestAlgorithm.ARRAY else made).hex()


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and str(int(text)) == text):
        raise Malformed(f"The {what} of a root record is a plain decimal number.")
    if int(text) > limits.LOG_NUMBER_MAX:
        raise Malformed(f"The {what} of a root record is {limits.LOG_NUMBER_MAX} at most.")
    return int(text)


def _hex(text: str, length: int, what: str) -> bytes:
    plain = text.isascii() and text == text.lower() and len(text) == 2 * length
    if not plain or any(c not in "0123456789abcdef" for c in text):
        raise Malformed(f"The {what} of a root record is {2 * length} lower-case hex digits.")
    return bytes.fromhex(text)
