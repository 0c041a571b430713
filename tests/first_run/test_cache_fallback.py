"""A cache that cannot even be looked at is passed over for the pool's own directory."""

from pathlib import Path

import pytest

from p2pool.dev.chain.fetch.anvil import find_anvil
from p2pool.dev.places import free_bytes


async def test_a_cache_that_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses to say whether there is anything; anvil is found in the spare place."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/{'x' * 300}")
    spare = tmp_path / "spare"
    spare.mkdir()
    anvil = spare / "anvil"
    anvil.write_text("#!/bin/sh\necho anvil Version: 1.7.1\n")
    anvil.chmod(0o755)
    said: list[str] = []
    assert await find_anvil(said.append, spare) == anvil
    assert "File name too long" in " ".join(said)


def test_room_is_that_of_the_nearest_directory_there_is(tmp_path: Path) -> None:
    """A path of which the system says nothing has the room of what is above it."""
    assert free_bytes(tmp_path / ("x" * 300) / "y") > 0
