"""The processes of a development pool are those of this installation, wherever it is started."""

from pathlib import Path

import pytest
import trio

from p2pool import __version__
from p2pool.dev.processes import spawn


async def test_a_child_imports_nothing_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `click.py` in the user's own directory does not take the place of the library."""
    (tmp_path / "click.py").write_text("raise SystemExit('a file of the user was imported')\n")
    monkeypatch.chdir(tmp_path)
    child, output = spawn("child", ["--version"], tmp_path / "logs", {})
    with trio.fail_after(60):
        await child.wait_gone()
    assert child.tail() == ""
    assert __version__ in output.read_text()
