"""The file of tokens is whole or not there, its owner's alone, and holds none that opens."""

import os
import stat
from pathlib import Path

import pytest

from p2pool.codec.json.tokens import tokens_text
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.drivers.redaction import redact, redact_text
from p2pool.model.access.tokens import TokenScope, made_token
from p2pool.model.errors import Misconfigured, StoreFailed


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Before the first one there is none; the mode does not depend on who asks for it."""
    file = TokenFile(tmp_path)
    assert file.load() == ()
    text = file.make()
    tokens, _ = made_token((), "a", TokenScope.READ, text, 5, None)
    before = os.umask(0)
    try:
        file.save(tokens)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.load() == tokens
    assert text.encode() not in file.path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["tokens.json"]


def test_each_is_another_and_as_long_as_it_has_to_be(tmp_path: Path) -> None:
    """256 bits, in letters that need no quotes."""
    made = {TokenFile(tmp_path).make() for _ in range(100)}
    assert len(made) == 100
    assert {len(one) for one in made} == {len("p2pool_") + 43}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """A row more in it is a way in."""
    file = TokenFile(tmp_path)
    file.save(())
    file.path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        file.load()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "remove it"),
        (b'{"format": 2, "tokens": []}', "Upgrade"),
        (b" " * 300_000, "longer than"),
        (tokens_text(()) + b"x", "not JSON"),
    ],
)
def test_a_damaged_file_says_what_to_do(tmp_path: Path, data: bytes, said: str) -> None:
    """It is not taken for an empty one: that would void tokens without a word."""
    file = TokenFile(tmp_path)
    file.save(())
    file.path.write_bytes(data)
    with pytest.raises(Misconfigured, match=said):
        file.load()


def test_a_disk_that_refuses_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """An error of the outside world, with what to do."""
    file = TokenFile(tmp_path)
    file.save(())
    before = file.path.read_bytes()
    (tmp_path / ".tokens.json.new").mkdir()  # In the way of the new one, for root too.
    with pytest.raises(StoreFailed, match="cannot be written"):
        file.save(made_token((), "a", TokenScope.READ, file.make(), 5, None)[0])
    assert file.path.read_bytes() == before


def test_what_was_revoked_on_a_full_disk_does_not_come_back(tmp_path: Path) -> None:
    """The agent begins anew in the same process, since its store found no room either, and loads
    the file that still has it. As soon as there is room it is gone there too."""
    file = TokenFile(tmp_path)
    kept, _ = made_token((), "kept", TokenScope.READ, file.make(), 5, None)
    both, _ = made_token(kept, "leaked", TokenScope.OPERATE, file.make(), 5, None)
    file.save(both)
    assert file.load() == both
    full = tmp_path / ".tokens.json.new"
    full.mkdir()
    with pytest.raises(StoreFailed):
        file.save(kept)
    assert file.load() == kept
    assert TokenFile(tmp_path).load() == both
    full.rmdir()
    assert file.load() == kept
    assert TokenFile(tmp_path).load() == kept


def test_no_log_line_shows_a_token() -> None:
    """Nor one that was made before this start, of which only the digest is known: by its form."""
    text = "p2pool_" + "Ab-_9" * 9
    assert redact_text(f"GET / Authorization: Bearer {text}; next") == (
        "GET / Authorization: Bearer [redacted]; next"
    )
    assert redact({"path": [text]}) == {"path": ["[redacted]"]}
    assert redact_text("p2pool_api_connections_total") == "p2pool_api_connections_total"
