"""`agent status` says where a node is on its way, on whom it waits, and what its provider has."""

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from p2pool.api.resources.agent import provider_warnings
from p2pool.cli import main
from p2pool.model.ids import Address
from p2pool.model.ports.agent import (
    ChallengeStatus,
    JoinStatus,
    ProviderStatus,
    WorkPiece,
    WorkStatus,
)
from tests.api.conftest import Served, served
from tests.cli.output.held import held

__all__ = ["served"]

WAITS = JoinStatus(
    step="invited",
    progress="waiting",
    finding="no invite for 0x22 is known",
    waiting_on="the manager 0x11",
    command="p2pool pool invite 0x22",
    since_ms=1,
)
TOKEN = 10**18
PROVIDER = ProviderStatus(
    account=Address(b"p" * 20),
    registered=True,
    whitelisted=True,
    coin_wei=TOKEN // 4,
    tokens_wei=0,
    stake_wei=2**80,
    stake_needed_wei=TOKEN,
    unbonding_wei=3 * TOKEN,
    withdrawable_wei=TOKEN,
    next_due_s=1_800_000_000,
    read_at_ms=1,
)

PIECE = WorkPiece(source="aa.0.1.4", key=b"k" * 32, units=12, state="submitted", at_ms=4)
WORK = WorkStatus(
    submits=True,
    judged=False,
    waiting=1,
    submitted=2,
    refused=1,
    invalidated=0,
    dropped=0,
    units=24,
    problem="Nobody answers.",
    pieces=(
        attrs.evolve(PIECE, source="aa.0.1.5", key=b"", state="refused", why="The file is empty."),
        PIECE,
    ),
)


async def status(served: Served, *words: str) -> Result:
    """What the command says of the agent."""
    command = ["agent", "status", "--agent", str(served.directory), *words]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main.cli, command))


async def test_the_step_the_wait_and_the_command_are_shown(served: Served) -> None:
    """In words for people, and by name for programs; nothing of it once the node is in."""
    assert "waits for" not in (await status(served)).stdout
    served.port.joins, served.port.provided = WAITS, PROVIDER
    said = (await status(served)).stdout
    for text in ("invited (waiting for ", "the manager 0x11", "p2pool pool invite 0x22"):
        assert text in said
    for text in ("0.25 coin", "its nodes need 1 tokens", "1 tokens can be withdrawn now"):
        assert text in said
    assert "more on 2027-01-15 08:00:00 UTC" in said
    told = held((await status(served, "--json")).stdout)["agent"]
    assert told["joining"] == attrs.asdict(WAITS)
    assert told["provider"]["stake_wei"] == str(2**80)


async def test_what_came_of_challenges_is_shown(served: Served) -> None:
    """How many, why others were not taken, and the last word of a validator; or why none is."""
    assert "0 served" in (await status(served)).stdout
    served.port.challenged = ChallengeStatus(
        off="",
        running=True,
        served=3,
        declined=(("leased", 2), ("not_validator", 7)),
        last_validator=Address(b"v" * 20),
        last_conclusion="valid",
        last_at_ms=1,
    )
    said = (await status(served)).stdout
    assert "3 served, declined: 2 leased, 7 not_validator, one is running" in said
    assert f"valid, 0x{'76' * 20}, " in said
    told = held((await status(served, "--json")).stdout)["agent"]["challenges"]
    assert told["declined"][0] == {"code": "leased", "count": 2}
    served.port.challenged = ChallengeStatus("[challenge] enabled is false", False, 0)
    assert "none is taken: [challenge] enabled is false" in (await status(served)).stdout


async def test_what_is_unknown_is_shown_as_unknown(served: Served) -> None:
    """Never as zero, and no warning comes of it."""
    served.port.provided = attrs.evolve(
        PROVIDER,
        coin_wei=None,
        stake_wei=None,
        stake_needed_wei=None,
        unbonding_wei=None,
        problem="nobody answers",
    )
    said = (await status(served)).stdout
    assert "unknown, its nodes need unknown" in said
    assert "not all is known: nobody answers" in said
    assert provider_warnings(served.port.provided) == ()


async def test_work_is_shown_with_what_is_wrong_with_it(served: Served) -> None:
    """Counts and the last that came to nothing; nothing where no task asked."""
    assert "units on the chain" not in (await status(served)).stdout
    served.port.worked = WORK
    said = (await status(served)).stdout
    assert "2 submitted, 1 waiting, 1 refused; 24 units on the chain" in said
    assert "nobody judges work" in said
    assert "Nobody answers." in said
    assert "last refused: aa.0.1.5: The file is empty." in said
    told = held((await status(served, "--json")).stdout)["agent"]["work"]
    assert (told["units"], told["pieces"][0]["key"]) == ("24", "")
    assert told["pieces"][1]["key"] == "0x" + "6b" * 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stake_wei": TOKEN // 4}, "0.75 tokens less than its nodes need, as after a slash"),
        ({"stake_wei": 1}, "p2pool provider stake add"),
        ({"whitelisted": False}, "not whitelisted"),
        ({"coin_wei": 0}, "has no coin"),
        ({}, None),
        ({"registered": False, "stake_wei": 0}, None),
        ({"whitelisted": None}, None),
    ],
)
def test_what_a_provider_has_to_see_to_is_a_warning(
    changes: dict[str, object], said: str | None
) -> None:
    """A stake below what its nodes need, a lost whitelisting, no coin; and nothing else."""
    warned = provider_warnings(attrs.evolve(PROVIDER, **changes))  # type: ignore[arg-type]
    assert [said in one for one in warned if said] == ([True] if said else [])
    assert bool(warned) is (said is not None)
