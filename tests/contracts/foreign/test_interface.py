"""What p2pool calls and follows is alike in both deployments, and has a row in docs/chain.md."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from p2pool.drivers.chain import contract_accounts
from p2pool.drivers.chain.abi import Function, artifact, events_first_of, function, topic
from p2pool.drivers.chain.provider import rewards
from p2pool.drivers.chain.roster.events import OF_MEMBERS, OF_POOL
from p2pool.drivers.chain.transactions.refusals import TEXTS
from p2pool.drivers.chain.validator import work
from p2pool.drivers.checks import deployment
from tests.contracts.foreign.harness.deployment import built
from tests.contracts.foreign.harness.named import ROOT, named, unread

PAGE = ROOT / "docs" / "chain.md"

FOREIGN = {
    "AIToken": "ForeignToken",
    "ComputePool": "ForeignPool",
    "ComputeRegistry": "ForeignRegistry",
    "DomainRegistry": "ForeignDomains",
    "PrimeNetwork": "ForeignNetwork",
    "StakeManager": "ForeignStakes",
}
OURS_ALONE = {"PrimeNetwork.setModules", "ComputeRegistry.grantRole", "PrimeNetwork.token"}
"""What only the development chain calls, to set itself up; and what has another name there."""
OURS_ALONE_EVENTS = {"WorkSubmitted"}
"""What a judge of work says there, in a form of its own."""


def _known(contract: str, event: str) -> bool:
    """Whether a contract of ours has that event: of a loop's names each is tried with each."""
    items = artifact(contract)["abi"]
    return any(one["type"] == "event" and one["name"] == event for one in items)


FUNCTIONS = sorted((c, n) for c, n in named("function") if c in FOREIGN)
FOLLOWED = {("ComputePool", name) for name in (*OF_POOL, *OF_MEMBERS)}
EVENTS = sorted({(c, n) for c, n in named("topic") if c in FOREIGN and _known(c, n)} | FOLLOWED)
BY_HAND = sorted(named("Function"))
"""Functions that none of our contracts has."""


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
    assert ("ComputePool", "isProviderInPool") in FUNCTIONS  # By the variable of a loop.
    assert ("PrimeNetwork", "increaseStake") in FUNCTIONS  # By a place in a tuple.
    assert ("ComputeRegistry", "getNode(address)") in FUNCTIONS
    assert ("ComputePool", "ComputePoolLeft") in EVENTS
    assert ("ComputeRegistry", "ComputeNodeAdded") in EVENTS
    assert ("RewardsDistributor", "claimRewards(address)") in BY_HAND
    assert len(FUNCTIONS) > 45


@pytest.mark.parametrize("kind", ["function", "topic", "Function"])
def test_no_call_is_passed_over(kind: str) -> None:
    """Each names contract and function by texts that the scan can follow."""
    assert unread(kind) == ()


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


@pytest.mark.parametrize(
    ("contract", "read"),
    [
        ("ForeignNetwork", deployment.TOKEN),
        ("ForeignPool", rewards.WHERE),
        ("ForeignRewards", rewards.EARNED_AND_LOCKED),
        ("ForeignRewards", rewards.CLAIM),
        ("ForeignNetwork", work.SOFT),
        ("ForeignNetwork", work.HARD),
    ],
)
def test_a_function_that_ours_lack_is_as_it_is_there(contract: str, read: Function) -> None:
    """Written by hand, so nothing else tells when it is wrong."""
    there = {signature: outputs for signature, outputs, _ in shape(contract, read.name)}
    assert there.get(read.signature) == ",".join(read.outputs)
    assert (read.contract, read.signature) in BY_HAND


def test_every_function_written_by_hand_is_tried() -> None:
    """Those above; an account that is a contract has a standard of its own."""
    tried = {rewards.WHERE, rewards.EARNED, rewards.EARNED_AND_LOCKED, rewards.CLAIM}
    tried |= {deployment.TOKEN, contract_accounts.IS_VALID}
    tried |= {work.SOFT, work.HARD, work.DOMAIN}
    assert {(one.contract, one.signature) for one in tried} == set(BY_HAND)


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
    # Whatever nobody here knows of network and registry makes the follower read everything again.
    alike = [
        (contract, name)
        for contract, name in EVENTS
        if contract in ("ComputePool", "StakeManager") and name not in OURS_ALONE_EVENTS
    ]
    for contract, name in alike:
        assert "0x" + topic(contract, name).hex() in events_of(FOREIGN[contract]), name
    followed = {t for t in events_first_of("ComputePool", "poolId") if t in there}
    assert len(followed) >= 10
    for one in followed:
        indexed = [p["name"] for p in there[one]["inputs"] if p["indexed"]]
        assert indexed[:1] == ["poolId"]


@pytest.mark.parametrize(
    "name",
    sorted(
        {function(c, n).name for c, n in FUNCTIONS}
        | {n for _, n in EVENTS}
        | {signature.partition("(")[0] for _, signature in BY_HAND}
    ),
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
    told = _texts(PAGE.read_text(encoding="utf-8"))
    assert said - {"initialized"} - told == set()
    assert {one.lower() for one in told} - set(TEXTS) == set(), "the page knows more than p2pool"


def test_the_bytecode_fits_a_block_explorers_limit() -> None:
    """24,576 bytes of deployed code; what is committed carries its constructor, too."""
    sizes = {
        path.stem: len(json.loads(path.read_text())["bytecode"]) // 2
        for path in (Path(__file__).parent / "abi").glob("*.json")
    }
    assert len(sizes) == 10
    assert max(sizes.values()) < 24_576
