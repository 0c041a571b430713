"""What a pool's keeper sends is what the dry run of the command named, to the last byte."""

import pytest

from tests.cli.plans.sent import agrees, nothing_left
from tests.cli.shell import FOUNDER, NEEDS, PEER, Shell, new_pool

pytestmark = pytest.mark.chain

BOOTSTRAP = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"


async def test_a_pool_is_created_as_it_was_shown(shell: Shell) -> None:
    """In one transaction."""
    words = ("create", "--name", "mine", "--data-uri", NEEDS, "--bootstrap", BOOTSTRAP)
    assert await agrees(shell, *words) == ["createComputePool"]


async def test_a_pool_is_started_as_it_was_shown(shell: Shell) -> None:
    """In two, the second of them not possible before the first; then nothing is left."""
    pool = await new_pool(shell)
    words = ("start", str(pool), "--founder", FOUNDER)
    assert await agrees(shell, *words) == ["startComputePool", "updateComputePoolURI"]
    await nothing_left(shell, *words)


async def test_requirements_change_as_it_was_shown(shell: Shell) -> None:
    """And a second time there is nothing to show."""
    pool = await new_pool(shell, "--data-uri", NEEDS)
    words = ("set-requirements", "gpu:count=4;ram_mb=64000", "--pool", str(pool))
    assert await agrees(shell, *words) == ["updateComputePoolURI"]
    await nothing_left(shell, *words)
