"""The command line: help imports nothing heavy, and each kind of error has its exit code."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from p2pool import __version__
from p2pool.cli import errors, main
from p2pool.model import errors as tree
from tests.cli.command_tree import every_leaf
from tests.cli.output.held import held
from tests.cli.shell import run

HEAVY = ("trio", "libp2p", "web3", "rich", "eth_account", "httpx2", "docker", "structlog", "apsw")


@pytest.fixture
def failing() -> Iterator[list[BaseException]]:
    """A command `fail` that raises what is put into the list."""
    raised: list[BaseException] = []

    @click.command("fail")
    @click.option("--json", "as_json", is_flag=True)
    def fail(as_json: bool) -> None:
        raise raised[0]

    module = sys.modules[__name__]
    module.fail = fail  # type: ignore[attr-defined]
    main.COMMANDS["fail"] = (f"{__name__}:fail", "Fails.")
    yield raised
    del main.COMMANDS["fail"]


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    """What takes long to import is not imported to print help; by modules, not by time."""
    code = (
        "import sys\nfrom p2pool.cli.main import run\n"
        f"assert run({args!r}) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith(("Usage: p2pool", f"p2pool {__version__}"))


def test_the_version_is_told_to_programs() -> None:
    """`--json` belongs to `--version`, and is refused where it would mean nothing."""
    told = held(run("--version", "--json").stdout)
    assert told["version"] == __version__
    assert set(told) == {"version", "commit", "dirty"}
    for args in (["--json"], ["--json", "node", "ls"]):
        done = run(*args)
        assert done.returncode == 2
        assert "--json stands behind the command" in done.stderr


def test_help_lists_commands_and_exit_codes() -> None:
    """The table's lines and all exit codes are there."""
    text = run("--help").stdout
    for name, (_, line) in main.COMMANDS.items():
        assert name in text
        assert line in text
    listed = [line.split()[0] for line in text.split("Exit codes:")[1].splitlines() if line.strip()]
    assert listed == ["0", "1", "2", "3", "4", "5", "6", "7", "130"]


def test_every_command_exists_and_takes_json() -> None:
    """Whatever the table lists can be imported, has help, and speaks JSON."""
    found = dict(every_leaf())
    assert "wallet new" in found
    for name, command in found.items():
        assert command.help, name
        assert any("--json" in parameter.opts for parameter in command.params), name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (tree.P2poolError("x"), 1),
        (tree.NotAllowed("x"), 3),
        (tree.BadSpec("x", problems=("p",)), 3),
        (tree.TransactionFailed("x"), 3),
        (tree.ImageNotFound("x"), 4),
        (tree.NoLeader("x"), 5),
        (tree.StoreFailed("x"), 5),
        (tree.BadKey("x"), 6),
        (click.UsageError("x"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BaseExceptionGroup("g", [ExceptionGroup("h", [tree.DataDirInUse("x")])]), 6),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130),
    ],
    ids=repr,
)
def test_exit_codes(failing: list[BaseException], error: BaseException, code: int) -> None:
    """Each branch of the tree has the code that the help says."""
    failing.append(error)
    assert main.run(["fail"]) == code


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_second_interruption_shows_no_traceback(
    failing: list[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    """It comes while the first is being told of; then it is told once, with its exit code."""
    failing.append(KeyboardInterrupt())
    tell, told = errors.say, iter([KeyboardInterrupt()])

    def say(text: str) -> None:
        if (again := next(told, None)) is not None:
            raise again
        tell(text)

    monkeypatch.setattr(errors, "say", say)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.main(["fail", *options])
    assert ended.value.code == 130
    assert capsys.readouterr().err.lower().count("interrupted") == (2 if options else 1)


def test_every_error_of_the_tree_has_a_code() -> None:
    """A new branch cannot be forgotten."""
    for value in vars(tree).values():
        if isinstance(value, type) and issubclass(value, tree.P2poolError):
            assert errors.exit_code(value("x")) in range(1, 8)


def test_an_error_says_what_to_do(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """As two lines for people, as one document with --json; never on standard output."""
    failing.append(tree.BadKey("It is\x1b[31m wrong.", hint="Mend it."))
    main.run(["fail"])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: It is\\x1b[31m wrong.\nhint: Mend it.\n")
    main.run(["fail", "--json"])
    out, err = capsys.readouterr()
    assert out == ""
    assert held(err)["code"] == "bad-key"
    assert held(err)["hint"] == "Mend it."


def test_our_own_bugs_are_not_swallowed(failing: list[BaseException]) -> None:
    """An assertion ends with its traceback, also out of a nursery."""
    failing.append(AssertionError("bug"))
    with pytest.raises(AssertionError):
        main.run(["fail"])
    failing[0] = ExceptionGroup("g", [AssertionError("bug"), tree.BadKey("x")])
    with pytest.raises(ExceptionGroup):
        main.run(["fail"])


def test_json_of_a_tasks_own_command_is_not_ours() -> None:
    """What stands behind `--` is not an option of this program."""
    assert main.wants_json(["task", "ls", "--json"])
    assert not main.wants_json(["task", "run", "--", "x", "--json"])


def test_an_unknown_command_is_wrong_usage() -> None:
    """With exit code 2, also as JSON."""
    assert run("nonsense").returncode == 2
    done = run("nonsense", "--json")
    assert (done.returncode, held(done.stderr)["code"]) == (2, "usage")


def test_wallet_new_and_show(tmp_path: Path) -> None:
    """A key is made once, shown by its address, and opened with its passphrase only."""
    file, passphrase = str(tmp_path / "k.json"), tmp_path / "p"
    passphrase.write_text("correct horse\n")
    options = ("--passphrase-file", str(passphrase))
    made = run("wallet", "new", file, "--light", "--json", *options)
    assert made.returncode == 0, made.stderr
    address = held(made.stdout)["address"]
    shown = run("wallet", "show", file)
    assert (shown.returncode, address in shown.stdout) == (0, True)
    assert run("wallet", "show", file, "--check", *options).returncode == 0
    assert run("wallet", "new", file, *options).returncode == 3
    passphrase.write_text("wrong\n")
    wrong = run("wallet", "show", file, "--check", *options)
    assert (wrong.returncode, "Wrong passphrase" in wrong.stderr) == (6, True)
    assert run("wallet", "show", str(tmp_path / "none")).returncode == 6


def test_wallet_new_from_a_private_key(tmp_path: Path) -> None:
    """Read from standard input, never from argv, and never printed again."""
    key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    passphrase = tmp_path / "p"
    passphrase.write_text("correct horse\n")
    args = ("--from-private-key", "-", "--light", "--passphrase-file", str(passphrase))
    done = run("wallet", "new", str(tmp_path / "k"), *args, stdin=key)
    assert "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266" in done.stdout, done.stderr
    assert key[2:] not in done.stdout + done.stderr
    bad = run("wallet", "new", str(tmp_path / "b"), *args, stdin="0x12")
    assert (bad.returncode, (tmp_path / "b").exists()) == (6, False)


@pytest.mark.parametrize("command", ["eject", "leave"])
@pytest.mark.parametrize("number", ["-1", str(2**256)])
def test_a_pool_that_no_contract_can_name_is_wrong_usage(command: str, number: str) -> None:
    """And nothing is read, signed or sent."""
    done = run("pool", command, "0x" + "11" * 20, "--pool", number)
    assert done.returncode == 2, done.stderr
    assert "--pool" in done.stderr
    assert "Traceback" not in done.stderr
