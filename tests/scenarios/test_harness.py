"""A transcript that says something else than what happens fails, and can be written anew."""

from pathlib import Path

import pytest

from p2pool.model.errors import Conflict
from tests.scenarios.harness.pool_commands import span_ms
from tests.scenarios.harness.raft_commands import RaftCommands
from tests.scenarios.harness.transcript import BadTranscript, Command, check, play

GOOD = (
    "# Prose\n# of two lines.\n\nsay a b  # a comment\nsay c\n----\na b\nc\n\nnothing\n----\nok\n"
)


def refused(given: list[str]) -> list[str]:
    raise Conflict("It is so already.", hint="Look.")


TABLE: dict[str, Command] = {
    "say": lambda given: [" ".join(given)],
    "nothing": lambda given: [],
    "refused": refused,
}


def test_what_happens_as_written_passes(tmp_path: Path) -> None:
    """And is the same after it was played."""
    path = tmp_path / "good.txt"
    path.write_text(GOOD)
    check(path, TABLE, rewrite=False)
    assert play(GOOD, TABLE) == GOOD


def test_what_happens_otherwise_fails_until_it_is_written_anew(tmp_path: Path) -> None:
    """One word is enough; prose and commands stay as they were."""
    path = tmp_path / "bad.txt"
    path.write_text(GOOD.replace("\na b\n", "\na x\n"))
    with pytest.raises(AssertionError, match=r"bad\.txt"):
        check(path, TABLE, rewrite=False)
    check(path, TABLE, rewrite=True)
    assert path.read_text() == GOOD


def test_a_refusal_is_told(tmp_path: Path) -> None:
    """With what to do next."""
    assert play("refused\n----\n", TABLE).endswith("error: Conflict: It is so already. Look.\n")


@pytest.mark.parametrize("text", ["nobody knows this\n----\n", "say a\nsay b\n"])
def test_what_cannot_be_read_is_no_transcript(text: str) -> None:
    """An unknown command, or a block without its rule."""
    with pytest.raises(BadTranscript):
        play(text, TABLE)


def test_every_command_says_how_it_is_used() -> None:
    """The docstrings are the manual."""
    for name in RaftCommands().table():
        method = getattr(RaftCommands, f"do_{name.replace('-', '_')}")
        assert (method.__doc__ or "").startswith(f"`{name}"), name


def test_spans_have_units() -> None:
    """`20` of what?"""
    found = [span_ms(text) for text in ("5ms", "20s", "3m", "1d")]
    assert found == [5, 20_000, 180_000, 86_400_000]
    with pytest.raises(BadTranscript):
        span_ms("20")
