"""What p2pool calls and follows is alike in both deployments, and has a row in docs/chain.md."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from p2pool.drivers.chain.abi import events_first_of, function, topic
from tests.contracts.foreign.harness.deployment import built

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "chain.md"

FOREIGN = {
    "AIToken": "ForeignToken",
    "ComputePool": "ForeignPool",
    "ComputeRegistry": "ForeignRegistry",
    "DomainRegistry": "ForeignDomains",
    "PrimeNetwork": "ForeignNetwork",
    "StakeManager": "ForeignStakes",
}
OURS_ALONE = {"PrimeNetwork.setModules", "ComputeRegistry.grantRole"}
"""What only the development chain calls, to set itself up."""
OURS_ALONE_EVENTS = {"WorkSubmitted"}
"""What a judge of work says there, in a form of its own."""


def _named(tree: ast.Module) -> dict[str, str]:
    """The module's constants that are texts."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _calls(kind: str) -> Iterator[tuple[str, str]]:
    """Contract and name of each `function(...)` or `topic(...)` in p2pool's sources."""
    for path in sorted((ROOT / "p2pool").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = _named(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id != kind or len(node.args) < 2:
                continue
            values = [
                texts.get(arg.id) if isinstance(arg, ast.Name) else getattr(arg, "value", None)
                for arg in node.args[:2]
            ]
            if values[0] in FOREIGN and isinstance(values[1], str):
                yield values[0], values[1]


FUNCTIONS = sorted({*_calls("function")} - {("ComputePool", "poolId")})
EVENTS = sorted({*_calls("topic")})


def shape(contract: str, name: str) -> set[tuple[str, str, str]]:
    """Signature, outputs and mutability of a function's overloads in a foreign contract."""
    found = set()
    for item in built(contract)["abi"]:
        if item["type"] == "function" and item["name"] == name:
            inputs, outputs = (
                ",".join(collapse_if_tuple(dict(p)) for p in item[side])
                for side in ("inputs", "outputs")
            )
            reads = item["stateMutability"] in ("view", "pure")
            found.add((f"{name}({inputs})", outputs, "reads" if reads else "writes"))
    return found


def test_the_scan_finds_what_p2pool_is_known_to_call() -> None:
    """Else every test below would pass for nothing at all."""
    assert ("ComputePool", "isNodeInPool") in FUNCTIONS
    assert ("ComputeRegistry", "getNode(address)") in FUNCTIONS
    assert ("ComputePool", "ComputePoolLeft") in EVENTS
    assert len(FUNCTIONS) > 25


@pytest.mark.parametrize(("contract", "named"), FUNCTIONS)
def test_a_function_is_the_same_there(contract: str, named: str) -> None:
    """Same selector, same arguments, and an answer that decodes by the same types."""
    ours = function(contract, named)
    if f"{contract}.{ours.name}" in OURS_ALONE:
        return
    there = {signature: outputs for signature, outputs, _ in shape(FOREIGN[contract], ours.name)}
    assert ours.signature in there
    # What nobody reads of a transaction may differ.
    reads = {kind for s, _, kind in shape(FOREIGN[contract], ours.name) if s == ours.signature}
    assert reads == {"writes"} or there[ours.signature] == ",".join(ours.outputs)


def events_of(contract: str) -> dict[str, dict[str, Any]]:
    """The events of a foreign contract, by their topic."""
    return {
        "0x" + keccak(text=f"{i['name']}({','.join(p['type'] for p in i['inputs'])})").hex(): i
        for i in built(contract)["abi"]
        if i["type"] == "event"
    }


def test_events_of_pools_are_the_same_there() -> None:
    """By their topic, and with the pool first: so the follower knows another pool's events."""
    there = events_of("ForeignPool")
    alike = [(contract, name) for contract, name in EVENTS if name not in OURS_ALONE_EVENTS]
    for contract, name in alike:
        assert "0x" + topic(contract, name).hex() in events_of(FOREIGN[contract]), name
    followed = {t for t in events_first_of("ComputePool", "poolId") if t in there}
    assert len(followed) >= 10
    for one in followed:
        indexed = [p["name"] for p in there[one]["inputs"] if p["indexed"]]
        assert indexed[:1] == ["poolId"]


@pytest.mark.parametrize(
    "name", sorted({function(c, n).name for c, n in FUNCTIONS} | {n for _, n in EVENTS})
)
def test_the_page_has_a_row_for_it(name: str) -> None:
    """What p2pool uses it for, and what it does where a deployment lacks it."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert any(re.search(rf"`{name}\b", row) for row in rows), f"docs/chain.md has no row: {name}"


def _texts(page: str) -> set[str]:
    """The reasons that the page quotes: the first cell of each row of its table of texts."""
    table = page.partition("## What it refuses with")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


def test_the_page_has_each_text_that_the_contracts_refuse_with() -> None:
    """Read from the sources of the contracts that p2pool sends to."""
    said: set[str] = set()
    for name in (
        "ForeignNetwork",
        "ForeignPool",
        "ForeignRegistry",
        "ForeignStakes",
        "ForeignWork",
    ):
        source = (Path(__file__).parent / "src" / f"{name}.sol").read_text(encoding="utf-8")
        said |= set(re.findall(r'require\([^;]*?"([^"]+)"\s*\)', source, re.DOTALL))
    assert said - {"initialized"} - _texts(PAGE.read_text(encoding="utf-8")) == set()


def test_the_bytecode_fits_a_block_explorers_limit() -> None:
    """24,576 bytes of deployed code; what is committed carries its constructor, too."""
    sizes = {
        path.stem: len(json.loads(path.read_text())["bytecode"]) // 2
        for path in (Path(__file__).parent / "abi").glob("*.json")
    }
    assert len(sizes) == 10
    assert max(sizes.values()) < 24_576
