"""Whatever a deployment refuses with becomes one cause, in a sentence that says what to do."""

import json
import re

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from p2pool.drivers.chain.abi import CONTRACTS, artifact
from p2pool.drivers.chain.join_steps import BAD_INVITES
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import SENTENCES, TEXTS, cause_of, refusal

ERROR, PANIC = keccak(text="Error(string)")[:4], keccak(text="Panic(uint256)")[:4]
LIBRARIES = re.compile(r"ECDSA|ERC20Invalid|ERC2612|AccessControlBad|InvalidShort|StringToo|Safe")
"""Errors of libraries that no call of ours can meet, or whose names say it all."""


def text(words: str) -> Reverted:
    return Reverted("execution reverted", ERROR + encode(["string"], [words]))


@pytest.mark.parametrize("words", TEXTS)
def test_a_text_is_its_cause_whole_and_quoted_by_an_endpoint(words: str) -> None:
    """With data, with the message alone, and in whatever case."""
    for reverted in (
        text(words),
        text(words.upper()),
        Reverted(f"execution reverted: {words}", b""),
        Reverted(f'VM Exception: reverted: "{words}"', b""),
    ):
        assert cause_of(reverted) == TEXTS[words]
        told = refusal("this", reverted)
        assert told.message.startswith("this was refused: ")
        assert "{" not in told.message


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("ComputePool: invite already used", "used before", "Ask the pool's manager for a new one"),
        ("ComputePool: invite expired", "has expired", "Ask the pool's manager for a new one"),
        ("ComputePool: invalid invite", "not signed by the pool's manager", "Ask the pool's"),
        ("ComputePool: pool does not exist", "There is no such pool.", "Check [pool] id."),
        ("Insufficient stake", "too small for the provider", "p2pool provider stake add"),
        ("Provider not whitelisted", "not whitelisted", "Ask the network's validator."),
        (
            "AccessControl: account 0x" + "ab" * 20 + " is missing role 0x" + "0" * 64,
            "lacks the role",
            "federator",
        ),
    ],
)
def test_what_they_say_is_told_with_what_to_do(words: str, said: str, hint: str) -> None:
    """As the same refusal of our contracts."""
    told = refusal("joinComputePool", text(words))
    assert said in told.message
    assert hint in told.hint


def test_invites_that_are_no_good_are_known_by_texts_too() -> None:
    """Else an agent would try a used one for ever, and look for no other."""
    texts = ("invite expired", "invite already used", "invalid invite")
    assert tuple(cause_of(text(f"ComputePool: {one}")) for one in texts) == BAD_INVITES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PANIC + (0x32).to_bytes(32, "big"), "an entry of a list that is not there (panic 0x32)"),
        (PANIC + (0x99).to_bytes(32, "big"), "an error of its own (panic 0x99)"),
        (PANIC + b"\xff" * 32, "its code failed."),
        (keccak(text="EnforcedPause()")[:4], "The contract is paused."),
        (ERROR + encode(["string"], ["no {such} thing"]), "Error(reason=no {such} thing)"),
        (b"\x01\x02\x03\x04", "execution reverted"),
        (b"", "execution reverted"),
    ],
)
def test_what_is_no_text_of_theirs(data: bytes, said: str) -> None:
    """The EVM's own, a pause, and what nobody knows, quoted as it is."""
    assert said in refusal("this", Reverted("execution reverted", data)).message


def test_every_error_of_our_contracts_has_a_sentence() -> None:
    """And each cause of the table is named by a contract, or by a text."""
    ours = {
        item["name"]
        for contract in CONTRACTS
        for item in artifact(contract)["abi"]
        if item["type"] == "error" and not LIBRARIES.search(item["name"])
    } - {"InvalidAccountNonce"}
    assert sorted(ours - SENTENCES.keys()) == []
    assert set(SENTENCES) <= ours | set(TEXTS.values()) | {"EnforcedPause"}
    assert all(one == one.lower() for one in TEXTS)


def test_the_arguments_of_ours_are_told() -> None:
    """Amounts where there are some; another's error of that name without them is no crash."""
    selector = keccak(text="StakeBelowMinimum(uint256,uint256)")[:4]
    reverted = Reverted("x", selector + encode(["uint256", "uint256"], [1, 2]))
    assert "1 of 2 wei" in refusal("this", reverted).message
    assert json.dumps(refusal("this", reverted).message)
