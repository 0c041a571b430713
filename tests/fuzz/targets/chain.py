"""What RPC endpoints answer: the bytes of an HTTP body, JSON values, and what contracts return."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import trio
from eth_abi.exceptions import DecodingError

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.chain import abi, answers
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.answers import Nonsense
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.endpoints.provider import answer_body
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.model.errors import ChainUnavailable, P2poolError, WrongChain
from p2pool.model.ids import Address, Digest
from tests.fuzz.target import target

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "cd" * 20
BLOCK = {"number": "0x7", "hash": HASH, "parentHash": HASH, "timestamp": "0x6553f100"}
LOG = {"address": ADDRESS, "topics": [HASH, HASH], "blockHash": HASH, "removed": False}
READERS: tuple[Callable[[Any], object], ...] = (
    answers.anything,
    answers.shown,
    answers.quantity,
    answers.number,
    answers.price,
    answers.data,
    answers.address,
    answers.block,
    answers.logs,
    answers.members,
    answers.receipt,
)


def _members_text() -> str:
    return "0x" + "20".rjust(64, "0") + "1".rjust(64, "0") + "0" * 24 + "cd" * 20


def _answers() -> Iterator[bytes]:
    value: object
    for value in (
        BLOCK,
        [LOG],
        HASH,
        ADDRESS,
        "0x7",
        _members_text(),
        None,
        [],
        {},
        {"topics": []},
    ):
        yield json.dumps(value).encode()


def _check_short(error: Exception, most: int) -> None:
    assert len(str(error)) < most, "quotes too much"


@target("chain-answers", seeds=_answers, allowed=[])
def readers(data: bytes) -> None:
    """Every reader of an answer takes any JSON in, or calls it nonsense."""
    if too_deep(data.decode("latin-1")):
        return  # `Rpc` parses none of these.
    try:
        value = json.loads(data)
    except ValueError:
        return
    for read in READERS:
        try:
            found = read(value)
        except Nonsense as nonsense:
            _check_short(nonsense, 2000)
            continue
        if read is answers.members:
            assert isinstance(found, list)
            assert sorted(found) == found
        if isinstance(found, int) and read is not answers.anything:
            assert 0 <= found < 2**256


def _bodies() -> Iterator[bytes]:
    for value in (BLOCK, [LOG], _members_text(), "0x" + "00" * 64):
        yield json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()
    revert = "0x08c379a0" + "20".rjust(64, "0") + "2".rjust(64, "0") + "6869".ljust(64, "0")
    for error in (
        {"code": 3, "message": "execution reverted", "data": revert},
        {"code": -32000, "message": "x", "data": {"data": revert}},
        "no",
        7,
    ):
        yield json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()


class _Provider:
    """An endpoint whose HTTP answers have this body."""

    def __init__(self, data: bytes, packed: str) -> None:
        raw = SimpleNamespace(stream=lambda size, decode_content: iter([data]))
        self._response: Any = SimpleNamespace(raw=raw, headers={"Content-Encoding": packed})

    def make_request(self, method: str, params: object) -> Any:
        from web3._utils.encoding import FriendlyJsonSerde

        text = answer_body(self._response)
        return FriendlyJsonSerde().json_decode(text.decode("utf-8"))


ASKED: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("eth_getBlockByNumber", answers.block),
    ("eth_getLogs", answers.logs),
    ("eth_call", answers.data),
    ("eth_getTransactionReceipt", answers.receipt),
)


@target("chain-rpc", seeds=_bodies, allowed=[], time_ms=500)
def rpc(data: bytes) -> None:
    """An endpoint's HTTP body, plain or packed, ends a call with one of three errors or an answer
    that passed its reader."""

    async def ask() -> None:
        for packed in ("", "gzip"):
            asked = Rpc.to(31337, ["http://127.0.0.1:1"])
            asked.endpoints[0].checked = True
            asked.pause_wait_ms = 0
            asked.endpoints[0].provider = _Provider(data, packed)  # type: ignore[assignment]
            for method, read in ASKED:
                try:
                    await asked.request(method, read=read)
                except (Reverted, WrongChain, ChainUnavailable) as error:
                    _check_short(error, 5000)

    trio.run(ask)


FUNCTIONS = (
    ("ComputePool", "getComputePool"),
    ("ComputePool", "getComputePoolNodes"),
    ("ComputeRegistry", "getNode(address)"),
    ("ComputeRegistry", "getWhitelistStatus"),
    ("StakeManager", "getStake"),
    ("PrimeNetwork", "calculateMinimumStake"),
)


def _returned() -> Iterator[bytes]:
    word = (1).to_bytes(32, "big")
    yield word * 13
    yield word
    yield (
        bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (2).to_bytes(32, "big") + b"hi" * 16
    )
    yield (32).to_bytes(32, "big") + b"".join(
        (n.to_bytes(32, "big")) for n in (1, 2, 416, 4, 5, 0, 0, 0, 448, 0, 0, 9, 1, 1, 0, 1, 0)
    )


@target("chain-abi", seeds=_returned, allowed=[], most_bytes=2048, time_ms=500)
def returned(data: bytes) -> None:
    """What contracts are said to return, and the errors with which they are said to revert."""
    for contract, name in FUNCTIONS:
        try:
            abi.function(contract, name).answer(data)
        except DecodingError:
            continue
    reverted = Reverted("", data)
    assert all(not isinstance(v, str) or len(v) < 4096 for v in reverted.arguments.values())


class _Calls:
    """A chain whose calls return the given bytes, one piece after the other."""

    def __init__(self, data: bytes) -> None:
        self.rpc = self
        self._data = data

    def name(self) -> str:
        return "here"

    async def request(self, method: str, *params: object, read: Callable[[Any], Any]) -> Any:
        size = int.from_bytes(self._data[:2], "big") % 2048
        taken, self._data = self._data[2 : 2 + size], self._data[2 + size :]
        try:
            return read("0x" + taken.hex())
        except Nonsense as nonsense:
            raise ChainUnavailable(str(nonsense)) from nonsense

    call = Rpc.call
    chain_id = 1


def _piece(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _calls() -> Iterator[bytes]:
    from eth_abi.abi import encode

    pool = abi.function("ComputePool", "getComputePool")
    node = abi.function("ComputeRegistry", "getNode(address)")
    values = [_value(kind) for kind in pool.outputs[0].strip("()").split(",")]
    values[0], values[12] = 1, 1
    packed = _piece(encode(pool.outputs, [tuple(values)]))
    members = _piece(bytes.fromhex(_members_text()[2:]))
    inner = [_value(kind) for kind in node.outputs[0].strip("()").split(",")]
    one = _piece(encode(node.outputs, [tuple(inner)]))
    word = _piece((1).to_bytes(32, "big"))
    record = _piece(encode(["string"], ["p2pool:root=x"]))
    yield packed + record + members + one + word * 4
    yield packed + _piece(b"") + members + one + word * 4


def _value(kind: str) -> Any:
    if kind == "address":
        return ADDRESS
    if kind == "string":
        return "p2pool:root=x;gpu:count=1"
    if kind == "bool":
        return True
    return [] if kind.endswith("[]") else 1


@target("chain-roster", seeds=_calls, allowed=[P2poolError, Reverted], time_ms=500)
def roster(data: bytes) -> None:
    """A whole roster from what an endpoint says contracts return."""
    address = Address(b"a" * 20)
    at = Addresses(
        network=address,
        pool=address,
        registry=address,
        stakes=address,
        domains=address,
        token=address,
    )
    reader = RosterReader(PoolContracts(_Calls(data), at), 1)  # type: ignore[arg-type]
    block = answers.Block(7, HASH, HASH, 7000)
    found = trio.run(reader.read, block)
    assert found.block_hash == Digest(bytes.fromhex(HASH[2:]))
