"""An endpoint of a small made-up chain, and what a hostile one answers in its place."""

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.model import limits
from p2pool.model.ids import Address

POOL, REGISTRY = Address(b"\x01" * 20), Address(b"\x02" * 20)
AT = Addresses(network=POOL, pool=POOL, registry=REGISTRY, stakes=POOL, domains=POOL, token=POOL)
NODE, PERSON = "0x" + "0a" * 20, "0x" + "0b" * 20
Answer = Callable[[list[Any], Any], Any]
"""From a call's parameters and an honest answer to the whole JSON-RPC answer."""


def hash_of(number: int) -> str:
    """The hash of a block of this chain."""
    return "0x" + keccak(number.to_bytes(32, "big")).hex()


def block_of(number: int) -> dict[str, Any]:
    parent = hash_of(max(0, number - 1))
    time_s = hex(1_700_000_000 + number)
    return {
        "number": hex(number),
        "hash": hash_of(number),
        "parentHash": parent,
        "timestamp": time_s,
        "baseFeePerGas": "0x7",
    }


def log_of(*topics: str) -> dict[str, Any]:
    return {"address": "0x" + POOL.hex(), "topics": list(topics)}


def pool_of(name: str = "pool", uri: str = "", domain: int = 0, status: int = 1) -> str:
    outputs = function("ComputePool", "getComputePool").outputs
    value = (7, domain, name, PERSON, PERSON, 0, 0, 0, uri, POOL.hex(), 0, 0, status)
    return "0x" + encode(outputs, [value[: outputs[0].count(",") + 1]]).hex()


CALLS: dict[bytes, str] = {
    function(contract, name).call(*arguments)[:4]: "0x" + encode(types, values).hex()
    for contract, name, arguments, types, values in (
        ("ComputePool", "getComputePoolNodes", [7], ["address[]"], [[NODE]]),
        ("ComputePool", "isNodeInPool", [7, NODE], ["bool"], [False]),
        ("ComputePool", "isNodeBlacklistedFromPool", [7, NODE], ["bool"], [False]),
        ("ComputePool", "isProviderBlacklistedFromPool", [7, NODE], ["bool"], [False]),
        ("ComputeRegistry", "getWhitelistStatus", [NODE], ["bool"], [True]),
    )
}


@attrs.define
class Chain:
    """An endpoint of a chain that has one more block at each look; `lies` about some methods."""

    lies: dict[str, Answer] = attrs.field(factory=dict)
    head: int = 100

    def make_request(self, method: str, params: list[Any]) -> Any:
        """In place of web3's provider: called in a thread."""
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            self.head += 1
        honest = self.honest(method, params)
        lie = self.lies.get(method)
        return lie(params, honest) if lie is not None else {"result": honest}

    def honest(self, method: str, params: list[Any]) -> Any:
        """What such a chain says."""
        if method == "eth_getBlockByNumber":
            named = {"latest": self.head, "finalized": self.head - 2}.get(params[0])
            return block_of(int(params[0], 16) if named is None else named)
        if method == "eth_getBlockByHash":
            return block_of(1)
        if method == "eth_call":
            asked = bytes.fromhex(params[0]["data"][2:10])
            if asked == function("ComputePool", "getComputePool").call(7)[:4]:
                return pool_of()
            if asked == function("ComputeRegistry", "getNode(address)").call(NODE)[:4]:
                types = function("ComputeRegistry", "getNode(address)").outputs
                return "0x" + encode(types, [(PERSON, NODE, "", 1, 0, True, True)]).hex()
            if asked == function("PoolRoot", "getRecord").call(7)[:4]:
                return "0x"
            return CALLS.get(asked, "0x" + bytes(32).hex())
        fixed = {"eth_chainId": "0x1", "eth_getLogs": [], "eth_getCode": "0x60"}
        return fixed.get(method, "0x5208")


def numbered(values: Iterable[Any]) -> list[tuple[int, Any]]:
    """Values of many types, each with its number."""
    return list(enumerate(values))


def told(value: Any) -> Answer:
    """Always this result."""
    return lambda params, honest: {"result": value}


def failed(error: Any) -> Answer:
    """Always this error."""
    return lambda params, honest: {"error": error}


def whole(value: Any) -> Answer:
    """Always this, which may be no JSON-RPC."""
    return lambda params, honest: value


def changed(**fields: Any) -> Answer:
    """The honest object, with other fields."""
    return lambda params, honest: {
        "result": {**honest, **fields} if isinstance(honest, dict) else fields
    }


def raised(error: Exception) -> Answer:
    """What a library raises of bytes that nobody thought of."""

    def answer(params: list[Any], honest: Any) -> Any:
        raise error

    return answer


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


TEXT_ERROR = "0x" + keccak(text="Error(string)")[:4].hex()
OURS = "0x" + keccak(text="NoSuchPool(uint256)")[:4].hex()
HOSTILE: dict[str, Answer] = {
    **{
        f"result {i}": told(value)
        for i, value in numbered(
            (
                *(None, True, 0, -1, 1.5, 10**4000, "", "0x", "0xzz", "zz", "\ud800", "0x1_0"),
                *("-0x1", "0x" + "f" * 64, "0x" + "f" * 5001, hex(2**53), hex(2**63), hex(2**70)),
                *([], [[]], [1], {}, {"hash": 1}, {"result": {}}, nested(900)),
                *("0x" + "00" * 31, "0x" + "ff" * 96, "0x" + "00" * 31 + "20" + "ff" * 32),
            )
        )
    },
    **{
        f"error {i}": failed(value)
        for i, value in numbered(
            (
                *(None, 0, 1, "x", [], {}, nested(900), {"message": 5}, {"message": nested(900)}),
                *({"data": data} for data in (TEXT_ERROR, TEXT_ERROR + "ff" * 64, OURS)),
                *({"data": data} for data in (OURS + "00", "0xzz", "0x", {"data": 1}, nested(900))),
                *({"message": "execution reverted", "data": []}, {"message": "revert" * 100_000}),
            )
        )
    },
    **{f"whole {i}": whole(value) for i, value in numbered([None, [], "x", {}, {"id": 1}])},
    **{
        f"raised {type(error).__name__}": raised(error)
        for error in (RecursionError(), MemoryError(), AttributeError("x"), IndexError("x"))
    },
}
BLOCKS: dict[str, Answer] = {
    f"{field} {i}": changed(**{field: value})
    for field in ("number", "timestamp", "hash", "parentHash")
    for i, value in numbered(
        [None, 5, [], "", "0x", "0x" + "ab" * 31, "0x" + "ab" * 33, hex(2**53), hex(2**70), "-0x1"]
    )
}
LOGS: dict[str, Answer] = {
    f"log {i}": told([log])
    for i, log in numbered(
        (
            *(1, None, [], {}, {"address": 1, "topics": []}, {"address": NODE}),
            *(log_of(), log_of("0x"), log_of(hash_of(1)), log_of(hash_of(1), "7")),
            *({"address": NODE, "topics": {}}, {"address": NODE, "topics": [1]}, {"topics": []}),
        )
    )
}
POOLS: dict[str, Answer] = {
    "a long name": told(pool_of(name="é" * limits.TEXT_MAX_BYTES)),
    "a large domain": told(pool_of(domain=2**70)),
    "no such status": told(pool_of(status=3)),
    "a long address": told(pool_of(uri="p2pool:bootstrap=/ip4/" + "1" * 5000)),
    "a long URI": told(pool_of(uri="a=b;" * 100_000)),
}
READS = ("eth_chainId", "eth_getBlockByNumber", "eth_getBlockByHash", "eth_getLogs", "eth_call")
WRITES = (
    "eth_getCode",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_getBlockByNumber",
    "eth_maxPriorityFeePerGas",
    "eth_getTransactionCount",
    "eth_sendRawTransaction",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
)
OF_METHOD = {"eth_getBlockByNumber": BLOCKS, "eth_getLogs": LOGS}
