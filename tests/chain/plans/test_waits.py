"""Whoever is refused on the way in is told who mends that, and by which command."""

import pytest
from click import Command, Group

from p2pool.cli import main
from p2pool.drivers.chain.join_waits import MENDINGS, OPERATOR, POOR, mending_of
from p2pool.drivers.chain.provider.entry_plans import Closed
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import SENTENCES, refusal
from p2pool.drivers.chain.transactions.writer import CannotPay
from p2pool.model.errors import NotFound, P2poolError, TransactionFailed, WrongChain


def _refused(text: str) -> TransactionFailed:
    reverted = Reverted(f"execution reverted: {text}", b"")
    error = refusal("joinComputePool", reverted)
    error.__cause__ = reverted
    return error


@pytest.mark.parametrize(
    ("error", "whom", "command"),
    [
        (CannotPay("no coin"), "sends the provider 0x11", "cast send 0x11 --value"),
        (_refused("ERC20: transfer amount exceeds balance"), "0x11 tokens", "cast send 0x22"),
        (_refused("Pausable: paused"), "the owner of the contracts", ""),
        (_refused("ComputePool: provider is blacklisted"), "another pool", "p2pool agent init"),
        (_refused("ComputePool: node is blacklisted"), "new node key", "p2pool node rekey"),
        (Closed("NodeExists", "It is another's.", hint=""), "new node key", "p2pool node rekey"),
        (_refused("something new"), "its operator", "p2pool agent check"),
        (NotFound("There is no pool 7."), "its operator", "p2pool agent check"),
        (WrongChain("Chain 1."), "its operator", "p2pool agent check"),
    ],
)
def test_a_refusal_names_who_mends_it(error: P2poolError, whom: str, command: str) -> None:
    """In whatever tongue the contracts refuse, and for what nobody knows, too."""
    found = mending_of(error, "0x11", "0x22")
    assert whom in found.whom
    assert found.command.startswith(command)
    assert bool(found.command) is bool(command)


def test_the_commands_exist() -> None:
    """Each cause is one that a refusal has, and each command of ours one that there is."""
    assert set(MENDINGS) - {POOR} <= set(SENTENCES)
    for one in (OPERATOR, *MENDINGS.values()):
        words = one.command.split()
        if words[:1] != ["p2pool"]:
            continue
        at: Command = main.cli
        for word in words[1:3]:
            assert isinstance(at, Group)
            found = at.get_command(None, word)  # type: ignore[arg-type]
            assert found is not None, one.command
            at = found
