"""A number out of range is told which end it breaks; an id that is too short, how short it is."""

import pytest

from p2pool.cli import errors, main
from p2pool.codec.text.ranges import outside
from tests.api.conftest import served
from tests.client.conftest import Commands, Served, commands, key

__all__ = ["commands", "key", "served"]

NODE = "0x" + "11" * 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"pool invite {NODE} --expires 0", "0s is below 1s, the least (1s to 1d)"),
        (f"pool invite {NODE} --expires 2d", "2d is above 1d, the most (1s to 1d)"),
        ("dev up --nodes 17", "17 is above 16, the most (1 to 16)"),
        ("dev demo --nodes 2", "2 is below 3, the least (3 to 16)"),
        ("task logs x --tail -1", "-1 is below 0, the least"),
        ("task logs x --since 9999999999d", "is above 3650d, the most"),
        ("verify leader --chain-id 0", "0 is below 1, the least"),
        ("pool end -1", "No such option"),
        ("pool end -- -1", "-1 is below 0, the least"),
        ("dev up --nodes many", "is not a valid integer"),
        ("task stop x --timeout 5s", "--timeout needs --wait"),
        ("task run --image a --timeout 5s", "--timeout needs --wait"),
        (f"node drain {NODE} --timeout 5s", "--timeout needs --wait"),
        ("wallet show k.json --passphrase-file p", "--passphrase-file needs --check"),
        ("volume export data --json", "--json needs -o FILE"),
        (f"agent check --node {NODE} --node-key k.json", "give one of them"),
    ],
)
async def test_which_end_is_broken_and_what_the_range_is(
    served: Served,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    said: str,
) -> None:
    """Each with exit code 2, before anything is asked or signed."""
    result = await commands(main.cli, *words.split())
    assert (result.exit_code, said in result.stderr) == (errors.USAGE, True), result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("node show 0", "needs 4 hex digits, and has 1"),
        ("node show 0x", "needs 4 hex digits, and has 0"),
        ("node drain abc", "needs 4 hex digits, and has 3"),
        ("node show agent-1", "is not the id of a node"),
        ("task show ab", "the beginning of an id needs 4 hex digits"),
    ],
)
async def test_a_short_id_is_told_how_short(
    served: Served, commands: Commands, words: str, said: str
) -> None:
    """It is no node that is not there."""
    result = await commands(main.cli, *words.split())
    assert said in str(result.exception)


@pytest.mark.parametrize("value", [-1, 0, 1, 16, 17])
def test_the_ends_belong_to_the_range(value: int) -> None:
    """Both."""
    assert (outside(value, 1, 16) is None) == (1 <= value <= 16)
