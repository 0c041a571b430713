"""The line protocol of a prover: a request a line on its standard input, an answer a line out.

    {"id": 1, "op": "devices"}
    {"id": 1, "devices": [{"uuid": "CPU-0", "model": "CPU x86_64", "memory_bytes": 1073741824}]}

Intuition: JSON, because whoever debugs a container reads it; bytes are hex, rows base64. A request
names a share for each device, and all shares run at the same time: that is the point of the
challenge.

Invariants: a line has at most `LINE_MAX_BYTES`, a request at most `SHARES_MAX` shares and
`OPENED_MAX` openings in each; whatever is wrong with a request is answered by `{"id", "error"}` and
changes nothing; unknown keys are refused. The program ends when its input ends.
"""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from prover.interface import Opening, Prover, Refused

LINE_MAX_BYTES = 1024 * 1024
SHARES_MAX = 64
OPENED_MAX = 1024
SEED_BYTES = 32

SIZES_MAX = {
    "inner": 2**16,
    "columns": 8192,
    "products": 4096,
    "rows": 2**20,
    "blocks": 2**22,
    "block_bytes": 2**20,
    "repeats": 4096,
    "passes": 64,
}
"""What a request may ask for at most, by the name of the size."""

Share = dict[str, Any]


def _shown(openings: list[Opening]) -> list[dict[str, Any]]:
    return [
        {
            "data": base64.b64encode(one.data).decode(),
            "path": [sibling.hex() for sibling in one.path],
        }
        for one in openings
    ]


def _load(prover: Prover, device: int, share: Share) -> Any:
    prover.load(device, _seed(share), _size(share, "inner"), _size(share, "columns"))
    return {}


def _multiply(prover: Prover, device: int, share: Share) -> Any:
    products, rows = _size(share, "products"), _size(share, "rows")
    return {"root": prover.multiply(device, _seed(share), products, rows).hex()}


def _rows(prover: Prover, device: int, share: Share) -> Any:
    return {"openings": _shown(prover.rows(device, _seed(share), _pairs(share)))}


def _fill(prover: Prover, device: int, share: Share) -> Any:
    blocks, block_bytes = _size(share, "blocks"), _size(share, "block_bytes")
    prover.fill(device, _seed(share), blocks, block_bytes, _size(share, "repeats"))
    return {}


def _scan(prover: Prover, device: int, share: Share) -> Any:
    roots = prover.scan(device, _seed(share), _size(share, "passes"))
    return {"roots": [root.hex() for root in roots]}


def _blocks(prover: Prover, device: int, share: Share) -> Any:
    return {"openings": _shown(prover.blocks(device, _seed(share), _pairs(share)))}


def _release(prover: Prover, device: int, share: Share) -> Any:
    prover.release(device)
    return {}


Work = Callable[[Prover, int, Share], Any]
OPERATIONS: dict[str, tuple[frozenset[str], Work]] = {
    "load": (frozenset({"seed", "inner", "columns"}), _load),
    "multiply": (frozenset({"seed", "products", "rows"}), _multiply),
    "rows": (frozenset({"seed", "wanted"}), _rows),
    "fill": (frozenset({"seed", "blocks", "block_bytes", "repeats"}), _fill),
    "scan": (frozenset({"seed", "passes"}), _scan),
    "blocks": (frozenset({"seed", "wanted"}), _blocks),
    "release": (frozenset(), _release),
}
"""What each operation needs of a share, beside the device, and what it does."""


def _seed(share: Share) -> bytes:
    try:
        seed = bytes.fromhex(share["seed"])
    except (TypeError, ValueError) as error:
        raise Refused("A seed is hex digits.") from error
    if len(seed) != SEED_BYTES:
        raise Refused(f"A seed has {SEED_BYTES} bytes.")
    return seed


def _size(share: Share, name: str) -> int:
    size = share[name]
    if type(size) is not int or not 0 < size <= SIZES_MAX[name]:
        raise Refused(f"{name} is a number from 1 to {SIZES_MAX[name]}.")
    return size


def _pairs(share: Share) -> list[tuple[int, int]]:
    wanted = share["wanted"]
    if not isinstance(wanted, list) or len(wanted) > OPENED_MAX:
        raise Refused(f"At most {OPENED_MAX} are opened at once.")
    pairs = []
    for one in wanted:
        if not isinstance(one, list) or [type(part) for part in one] != [int, int] or min(one) < 0:
            raise Refused("What is wanted is a list of pairs of numbers.")
        pairs.append((one[0], one[1]))
    return pairs


def _shares(request: dict[str, Any], count: int) -> list[Share]:
    """The shares of a request, each of another device."""
    shares = request["shares"]
    if not isinstance(shares, list) or not 0 < len(shares) <= SHARES_MAX:
        raise Refused(f"A request has 1 to {SHARES_MAX} shares.")
    needed, _ = OPERATIONS[request["op"]]
    for share in shares:
        if not isinstance(share, dict) or set(share) != needed | {"device"}:
            raise Refused(f"A share has {', '.join(sorted(needed | {'device'}))}, and no more.")
        if type(share["device"]) is not int or not 0 <= share["device"] < count:
            raise Refused(f"There are {count} devices, counted from 0.")
    if len({share["device"] for share in shares}) != len(shares):
        raise Refused("Each share is of another device.")
    return shares


def answer(prover: Prover, workers: ThreadPoolExecutor, line: bytes) -> dict[str, Any]:
    """The answer to a line."""
    number: Any = None
    try:
        if len(line) > LINE_MAX_BYTES:
            raise Refused(f"A line has at most {LINE_MAX_BYTES} bytes.")
        request = json.loads(line)
        if not isinstance(request, dict) or type(request.get("id")) is not int:
            raise Refused("A request is an object with a number as its id.")
        number = request["id"]
        if request.get("op") == "devices" and set(request) == {"id", "op"}:
            return {"id": number, "devices": [vars(one) for one in prover.devices()]}
        if request.get("op") not in OPERATIONS or set(request) != {"id", "op", "shares"}:
            raise Refused(f"An operation is one of devices, {', '.join(OPERATIONS)}.")
        shares = _shares(request, len(prover.devices()))
        _, work = OPERATIONS[request["op"]]
        begun = [workers.submit(work, prover, share["device"], share) for share in shares]
        return {"id": number, "shares": [one.result() for one in begun]}
    except (Refused, MemoryError, IndexError) as error:
        return {"id": number, "error": str(error) or type(error).__name__}
    except ValueError:  # also text that is not UTF-8
        return {"id": number, "error": "A line is one request as JSON."}


def lines_of(source: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream. What is longer than a line may be is cut, and its rest dropped, so it
    is answered once."""
    while line := source.readline(LINE_MAX_BYTES + 1):
        rest = line
        while not rest.endswith(b"\n") and rest:
            rest = source.readline(LINE_MAX_BYTES + 1)
        yield line


def serve(prover: Prover, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer each line until there are no more."""
    with ThreadPoolExecutor(max_workers=SHARES_MAX) as workers:
        for line in lines_of(source):
            made = json.dumps(answer(prover, workers, line), separators=(",", ":"))
            sink.write(made.encode() + b"\n")
            sink.flush()
