"""Each document has one envelope; what nobody sees is an escape, in JSON and in text."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from p2pool.cli import main
from p2pool.cli.documents import KINDS, envelope, forget_warnings, json_text, visible
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import warn, write_json
from p2pool.cli.shared.process import run_unless_interrupted
from p2pool.cli.task.logs import terminal_text
from p2pool.model.errors import Conflict
from tests.cli.output.held import held
from tests.cli.surroundings.files import write_settings

HOSTILE = "\x00\x1b[2J\x7f\x9b31m\u202egpj.exe\u2066\u200b\ufeff\u2028\U000e0041"


def test_an_envelope_says_what_it_holds() -> None:
    """An object as data, a list as items, whatever they are called."""
    forget_warnings()  # Commands of other tests ran in this process.
    assert envelope("pool", {"a": 1}) == {
        "p2pool": 1, "kind": "pool", "data": {"a": 1}, "warnings": [],
    }  # fmt: skip
    assert envelope("tasks", [])["items"] == []
    assert all(kind == kind.lower() for kind in KINDS)


def test_every_kind_is_documented() -> None:
    """In a table of the design, as the code has it."""
    page = (Path(__file__).parents[3] / "docs" / "design" / "api.md").read_text(encoding="utf-8")
    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {meaning} |" in page


@given(st.text())
def test_json_holds_the_text_and_shows_no_control(text: str) -> None:
    """Whoever parses it has what was said; whoever looks at it sees it."""
    made = json_text({text: [text]}, indent=2)
    assert json.loads(made) == {text: [text]}
    assert all(one.isprintable() or one == "\n" for one in made)
    assert json_text([text], ascii_only=True).isascii()


def test_json_escapes_what_turns_text_around() -> None:
    """C1 and bidirectional controls passed through before."""
    made = json_text({"reason": HOSTILE})
    for escape in ("\\u009b", "\\u202e", "\\u2066", "\\u200b", "\\u007f", "\\udb40\\udc41"):
        assert escape in made
    assert json_text("straße 日本") == '"straße 日本"'


@given(st.text())
def test_text_for_people_is_printable(text: str) -> None:
    """Every character that is not shows as its escape, or as a space."""
    assert visible(text).isprintable()
    assert visible(text, keep="\n").count("\n") == text.count("\n")


def test_escapes_say_which_character_it_was() -> None:
    """Plain text stays."""
    assert visible("a\x1b\u202e\U000e0041\u00a0b") == "a\\x1b\\u202e\\U000e0041 b"
    assert visible("straße 日本") == "straße 日本"


def test_an_error_shows_its_controls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a refusal, in words and as a document, and of wrong usage, with a peer's words in it."""

    @click.command("fail")
    @click.option("--name")
    @json_option
    def fail(name: str | None, as_json: bool) -> None:
        warn("first a warning")
        if name:
            raise click.UsageError(f"{name} is no name.")
        raise Conflict(f"The agent says {HOSTILE}", hint=f"Do {HOSTILE}")

    monkeypatch.setitem(main.cli.commands, "fail", fail)
    monkeypatch.setattr(main.cli, "get_command", lambda _, name: fail if name == "fail" else None)
    for words, code in ((["fail"], 3), (["fail", "--name", HOSTILE], 2)):
        assert main.run(words) == code
        said = capsys.readouterr().err
        assert all(one.isprintable() or one == "\n" for one in said)
        assert "\\u202e" in said
    assert main.run(["fail", "--json"]) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    told = held(err)
    assert told == {
        "code": "conflict", "message": f"The agent says {HOSTILE}", "hint": f"Do {HOSTILE}",
        "problems": [], "exit_code": 3,
    }  # fmt: skip
    assert json.loads(err)["warnings"] == ["first a warning"]
    assert all(one.isprintable() or one == "\n" for one in err)


def test_warnings_are_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """And beside it only where there is none."""

    @click.command()
    @json_option
    def command(as_json: bool) -> None:
        warn("mind \x1b[2J")
        if as_json:
            write_json("pool", {})

    for words in ([], ["--json"]):
        command.main(words, standalone_mode=False)
    out, err = capsys.readouterr()
    assert json.loads(out)["warnings"] == ["mind \x1b[2J"]
    assert err == "warning: mind \\x1b[2J\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"\x1b[32mINFO\x1b[0m ok\r", "\x1b[32mINFO\x1b[0m ok\x1b[0m"),
        (b"\x1b[38;5;8mgray", "\x1b[38;5;8mgray\x1b[0m"),
        (b"\x1b[8mhidden", "\\x1b[8mhidden"),
        (b"\x1b[1;8mhidden", "\\x1b[1;8mhidden"),
        (b"a\tb\x1b[2Jc\x1b]0;title\x07", "a\tb\\x1b[2Jc\\x1b]0;title\\x07"),
        (b"\xc2\x9b31mred", "\\x9b31mred"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u202edrow".encode(), "\\u202edrow"),
    ],
)
def test_a_log_on_a_terminal_colours_and_does_no_more(
    monkeypatch: pytest.MonkeyPatch, line: bytes, shown: str
) -> None:
    """Titles, cursors and hidden text are shown as what they are; without colours none passes."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal_text(line) == shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal_text(line)


def test_a_long_row_of_digits_is_no_trap() -> None:
    """What looks like a colour for ever is read once."""
    line = b"\x1b[" + b"1" * 65 + b"\x1b[" + b";" * 64 + b"x"
    assert "\x1b" not in terminal_text(line * 1_000)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Nobody has said where log lines go, as when a command begins."""
    structlog.reset_defaults()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.usefixtures("unlogged")
def test_no_line_of_the_log_stands_in_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a check that finds no engine and says so in the log."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    words = ["agent", "check", "--data-dir", str(tmp_path / "data"), "--only", "software"]
    main.run([*words, "--config", str(write_settings(tmp_path / "pool.toml")), "--json"])
    told = capsys.readouterr()
    assert held(told.out)["checks"]
    assert "plain processes" in told.err


@pytest.mark.usefixtures("unlogged")
def test_what_a_development_pool_logs_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Such as that an image was loaded."""

    async def act() -> None:
        structlog.get_logger("p2pool.t").info("loaded")
        structlog.get_logger("p2pool.t").warning("left over")

    run_unless_interrupted(act)
    told = capsys.readouterr()
    assert told.out == ""
    assert "left over" in told.err
