"""What real endpoints do, as modes of a proxy in front of a development chain."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Rpc
from tests.chain.conftest import World
from tests.chain.endpoints import Ask, Limit, Proxy, Refuse, Twist
from tests.chain.harness import acts


def follower(world: World, *urls: str, confirmations: int = 0, **options: Any) -> RosterFollower:
    """One who follows by these endpoints, in this order."""
    chain = PoolContracts(Rpc.to(31337, urls, timeout_ms=5000), world.chain.at)
    reader = RosterReader(chain, world.pool_id)
    return RosterFollower(reader, confirmations=confirmations, poll_ms=20, **options)


async def rich(world: World, *who: Any) -> None:
    """Let these pay for as much gas as they like."""
    for writer in (world.deployment.federator, *who):
        address = "0x" + writer.address.hex()
        await world.chain.rpc.request("anvil_setBalance", address, hex(10**30))


async def members(world: World, count: int) -> list[Any]:
    """So many members of the pool, each of a provider of its own: the writers and their nodes."""
    found = []
    for _ in range(count):
        await rich(world)
        provider = await world.account()
        await rich(world, provider)
        stake_wei = 10 * await world.chain.stake_needed(provider.address, 1)
        await acts.approve(world.chain, provider, stake_wei)
        await acts.register_provider(world.chain, provider, stake_wei)
        await world.chain.whitelist(world.deployment.federator, provider.address)
        found.append(await world.member(provider))
    return found


async def mine(anvil: Anvil, blocks: int = 1, seconds: int = 1) -> None:
    """So many blocks, so many seconds apart: the chain of these tests makes none by itself."""
    await anvil.rpc().request("anvil_mine", hex(blocks), hex(seconds))


def turns(*answers: str | None) -> Limit:
    """A limit that answers in turn: None lets a call through, a text is its Retry-After."""
    each = cycle(answers)
    return lambda: next(each)


def refusing(wanted: Callable[[str, list[Any]], bool], code: int, message: str) -> Refuse:
    """An endpoint that answers some calls with this error."""
    error = {"code": code, "message": message}
    return lambda ask, method, params: error if wanted(method, params) else None


def capped(blocks: int, message: str, code: int = -32602) -> Refuse:
    """An endpoint that tells the events of so many blocks at once at most."""

    def wanted(method: str, params: list[Any]) -> bool:
        if method != "eth_getLogs" or "fromBlock" not in params[0]:
            return False
        return int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1 > blocks

    return refusing(wanted, code, message)


def without_finality(method: str, params: list[Any]) -> bool:
    """Calls that name the final block."""
    return method == "eth_getBlockByNumber" and params[0] == "finalized"


def pruned(keep: Callable[[], int]) -> Refuse:
    """An endpoint that has no state of blocks before a height."""

    def refuse(ask: Ask, method: str, params: list[Any]) -> dict[str, Any] | None:
        at = params[1] if method == "eth_call" and len(params) > 1 else None
        if not isinstance(at, dict):
            return None
        block = ask("eth_getBlockByHash", [at["blockHash"], False])
        gone = block is None or int(block["number"], 16) < keep()
        return {"code": -32000, "message": "missing trie node 3b70 (path )"} if gone else None

    return refuse


def balanced(made: Proxy, *lags: int) -> None:
    """Make a proxy one address of several machines, asked in turn, of which each is so many blocks
    behind: it does not know newer blocks, and leaves out their events without a word."""
    turn: Iterator[int] = cycle(lags)
    state: dict[str, Any] = {}

    def refuse(ask: Ask, method: str, params: list[Any]) -> dict[str, Any] | None:
        head = max(0, int(ask("eth_blockNumber", []), 16) - next(turn))
        state["head"], state["block"] = head, ask("eth_getBlockByNumber", [hex(head), False])
        at = params[1] if method == "eth_call" and len(params) > 1 else None
        named = at if isinstance(at, dict) else params[0] if method == "eth_getLogs" else {}
        if isinstance(named, dict) and "blockHash" in named:
            block = ask("eth_getBlockByHash", [named["blockHash"], False])
            if block is None or int(block["number"], 16) > head:
                return {"code": -32000, "message": "header not found"}
        return None

    def twist(method: str, params: list[Any], result: Any) -> Any:
        head = state["head"]
        if method == "eth_getBlockByNumber" and result and int(result["number"], 16) > head:
            return None if params[0].startswith("0x") else state["block"]
        if method == "eth_getLogs":
            return [one for one in result if int(one["blockNumber"], 16) <= head]
        return result

    made.refuse, made.twist = refuse, twist


def false_events(extra: list[dict[str, Any]]) -> Twist:
    """An endpoint that tells of these events, too."""
    return lambda method, params, result: [*result, *extra] if method == "eth_getLogs" else result
