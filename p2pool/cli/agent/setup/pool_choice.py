"""Which chain and which pool: by number, with a preset or addresses, or by what it published."""

import re
from collections.abc import Mapping
from typing import Any

from p2pool.cli.agent.setup.questions import Questions
from p2pool.codec.json.hex import unhex
from p2pool.drivers.config.chain_presets import PRESETS
from p2pool.drivers.config.pool_document import is_document, read_pool_document
from p2pool.model.errors import Misconfigured
from p2pool.model.ids import ADDRESS_BYTES, Address

CONTRACTS = ("network", "pool", "registry", "stake", "domains", "token")
OTHER = "other"
_ID_MAX = 2**63 - 1


def choose_pool(asks: Questions, given: Mapping[str, Any]) -> dict[str, Any]:
    """The tables `chain`, `pool` and what of `network` the pool says; flags come before what a
    pool's document says."""
    named = given["pool"]
    if named is None:
        named = asks.ask("--pool", "The pool: its number, or the URL or file of its pool.toml", str)
    tables = read_pool_document(named) if is_document(named) else {"pool": {"id": _pool_id(named)}}
    chain = dict(tables.get("chain", {}))
    chain |= _chain(asks, given, chain)
    addresses = {**chain.get("addresses", {})}
    named_by_flags = {
        "network": given["network_contract"],
        "pool": given["pool_contract"],
        "registry": given["registry_contract"],
        "stake": given["stake_contract"],
        "domains": given["domains_contract"],
        "token": given["token_contract"],
    }
    addresses |= {name: at for name, at in named_by_flags.items() if at is not None}
    chain["addresses"] = _contracts(asks, chain, addresses)
    return {**tables, "chain": chain}


def _chain(asks: Questions, given: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The chain's id, endpoints and confirmations, as far as the pool's document does not say."""
    chosen: dict[str, Any] = {}
    name = given["chain"]
    if name is None and given["chain_id"] is None and "id" not in said:
        name = asks.choose("--chain", "The chain", (*PRESETS, OTHER), "base")
    preset = PRESETS.get(name or "")
    if preset is not None:
        chosen["id"] = preset.id
        if preset.confirmations is not None:
            chosen["confirmations"] = preset.confirmations
        if "id" not in said:
            chosen["endpoints"] = preset.endpoints
    if given["chain_id"] is not None:
        if preset is not None and given["chain_id"] != preset.id:
            raise Misconfigured(
                f"--chain {name} has the id {preset.id}, and --chain-id says {given['chain_id']}.",
                hint="Name one of them.",
            )
        chosen["id"] = given["chain_id"]
    elif "id" not in chosen and "id" not in said:
        chosen["id"] = asks.ask("--chain-id", "The chain's id", _number)
    if "id" in said and chosen.get("id", said["id"]) != said["id"]:
        raise Misconfigured(
            f"The pool is on chain {said['id']}, not on {chosen['id']}.",
            hint="Leave out --chain and --chain-id: the pool says its own.",
        )
    if given["endpoint"]:
        chosen["endpoints"] = tuple(given["endpoint"])
    elif "endpoints" not in said:
        default = ", ".join(chosen.get("endpoints", ())) or None
        question = "RPC endpoints, the preferred one first, with commas between"
        chosen["endpoints"] = asks.ask("--endpoint", question, _urls, default)
    if given["confirmations"] is not None:
        chosen["confirmations"] = given["confirmations"]
    return chosen


def _contracts(
    asks: Questions, chain: Mapping[str, Any], known: dict[str, Any]
) -> dict[str, Address | str]:
    """All six addresses: given, said by the pool, or read from the network contract."""
    if "network" not in known:
        question = "The address of the deployment's network contract (PrimeNetwork)"
        known["network"] = asks.ask("--network-contract", question, _address)
    if missing := [name for name in CONTRACTS if name not in known]:
        asks.say("The other contracts are read from it.")
        known |= _found(chain, known["network"], missing)
    for name in CONTRACTS:
        if name not in known:
            flag = f"--{name}-contract"
            known[name] = asks.ask(flag, f"The address of the {name} contract", _address)
    return {name: known[name] for name in CONTRACTS}


def _found(
    chain: Mapping[str, Any], network: Address | str, missing: list[str]
) -> dict[str, Address]:
    import trio

    from p2pool.drivers.chain.rpc import Rpc
    from p2pool.drivers.checks.deployment import find_contracts

    at = _address(network) if isinstance(network, str) else network
    rpc = Rpc.to(chain["id"], tuple(chain["endpoints"]))
    found = trio.run(find_contracts, rpc, at)
    return {name: found.addresses[name] for name in missing if name in found.addresses}


def _pool_id(text: str) -> int:
    number = int(text) if len(text) < 20 else _ID_MAX + 1  # Python reads no number of any length.
    if number > _ID_MAX:
        raise Misconfigured(f"{text[:40]!r} is no pool's number: it is over {_ID_MAX}.")
    return number


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text) or not int(text):
        raise Misconfigured(f"{text[:40]!r} is no chain's id: a number.")
    return int(text)


def _urls(text: str) -> tuple[str, ...]:
    from p2pool.drivers.config.validators import rpc_problem

    urls = tuple(url.strip() for url in text.split(",") if url.strip())
    for url in urls:
        if (why := rpc_problem(url)) is not None:
            raise Misconfigured(f"An endpoint cannot work: {why}.")
    if not urls:
        raise Misconfigured("At least one endpoint is needed.", hint="Write https://HOST/PATH.")
    return urls


def _address(text: str) -> Address:
    found = unhex(text, ADDRESS_BYTES)
    if found is None:
        raise Misconfigured(f"{text[:80]!r} is no address: 0x and 40 hex digits.")
    return Address(found)
