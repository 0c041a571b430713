"""The committed ABI files are what the Solidity sources give, byte for byte, and are Prime's."""

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from p2pool.drivers.chain.abi import CONTRACTS

HERE = Path(__file__).resolve().parent
ABI = HERE.parents[1] / "abi"

TOPICS = {
    "ComputePoolJoined(uint256,address,address[])": "bcdd4a6f29bb8113",
    "ComputePoolLeft(uint256,address,address)": "26d6fbdc6ba12646",
    "ComputePoolNodeEjected(uint256,address,address)": "feaa1c0159e289de",
    "ComputePoolNodeBlacklisted(uint256,address,address)": "4d58172de21b6481",
    "ComputePoolPurgedProvider(uint256,address)": "fa6726d61af679b4",
}

FUNCTIONS = {
    "ComputePool": {
        "joinComputePool(uint256,address,address,uint256,uint256,bytes)",
        "joinComputePool(uint256,address,address[],uint256[],uint256[],bytes[])",
        "leaveComputePool(uint256,address,address)",
        "leaveComputePool(uint256,address,address[])",
        "createComputePool(uint256,address,string,string,uint256)",
        "updateComputePoolURI(uint256,string)",
        "ejectNode(uint256,address)",
        "blacklistNode(uint256,address)",
        "purgeProvider(uint256,address)",
        "getComputePoolNodes(uint256)",
        "isNodeInPool(uint256,address)",
        "isNodeBlacklistedFromPool(uint256,address)",
    },
    "PrimeNetwork": {
        "registerProvider(uint256)",
        "registerProviderWithPermit(uint256,uint256,bytes)",
        "addComputeNode(address,string,uint256,bytes)",
        "removeComputeNode(address,address)",
        "whitelistProvider(address)",
        "validateNode(address,address)",
        "calculateMinimumStake(address,uint256)",
        "setStakeMinimum(uint256)",
    },
}


def signature(item: dict[str, object]) -> str:
    """`name(type,...)` of an ABI item without tuples in its inputs."""
    inputs = item["inputs"]
    assert isinstance(inputs, list)
    return f"{item['name']}({','.join(i['type'] for i in inputs)})"


def items(contract: str, kind: str) -> set[str]:
    abi = json.loads((ABI / f"{contract}.json").read_text())["abi"]
    return {signature(item) for item in abi if item["type"] == kind}


def unavailable(reason: str) -> None:
    """Skip where a tool cannot be had; in the gate that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize(
    ("sources", "kept"),
    [(ABI / "src", ABI), (HERE / "src", HERE), (HERE / "foreign/src", HERE / "foreign/abi")],
    ids=["network", "tests", "foreign"],
)
def test_the_sources_give_the_committed_files(tmp_path: Path, sources: Path, kept: Path) -> None:
    """Compile again into another directory and compare every file."""
    if shutil.which("node") is None:
        unavailable("node is not installed: apt-get install nodejs npm")
    built = subprocess.run(
        ["node", str(ABI / "build.mjs"), str(tmp_path), "--sources", str(sources)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if built.returncode != 0 and "npm" in built.stderr:
        unavailable(f"the compiler cannot be had: {built.stderr[-500:]}")
    assert built.returncode == 0, built.stderr
    committed = {p.name: p.read_bytes() for p in kept.glob("*.json") if p.name != "package.json"}
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.json")} == committed


def test_a_wheel_carries_every_contract() -> None:
    """The list in pyproject.toml is written by hand, and a clone does not miss a file in it."""
    project = tomllib.loads((ABI.parent / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {f"abi/{name}.json" for name in CONTRACTS} <= set(carried)


@pytest.mark.parametrize(("event", "topic"), TOPICS.items())
def test_events_are_those_of_the_network(event: str, topic: str) -> None:
    """An agent can follow pools that exist already: same event, same topic."""
    assert event in items("ComputePool", "event")
    assert keccak(text=event).hex().startswith(topic)


@pytest.mark.parametrize("contract", sorted(FUNCTIONS))
def test_functions_have_the_signatures_of_the_network(contract: str) -> None:
    """What the agent calls is there, overloads included."""
    assert items(contract, "function") >= FUNCTIONS[contract]
