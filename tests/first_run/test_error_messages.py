"""What goes wrong is a sentence, whatever it is written to; a bug is called one."""

import re
import socket
import subprocess
import sys
from pathlib import Path
from shlex import quote

import attrs
import pytest

from p2pool.dev.processes import spawn, wait_line
from p2pool.drivers import failures
from p2pool.drivers.config.schema import NetworkConfig, write_config
from p2pool.model.errors import DiskFull, Malformed, Misconfigured, P2poolError, Unavailable
from tests.cli.output.held import held
from tests.first_run.harness.configuration import config_of
from tests.first_run.harness.strangers import Stranger

OK, FAILED, REFUSED, UNAVAILABLE, MISCONFIGURED = 0, 1, 3, 5, 6
NO_ENGINE = {"DOCKER_HOST": "unix:///no/such/socket"}

PLANTED = """
import sys
from importlib.abc import MetaPathFinder

class Planted(MetaPathFinder):
    # As soon as the module is there, break it.
    def find_spec(self, name, path, target=None):
        if name == "p2pool.dev.demo":
            import p2pool.dev.pool

            async def broken(self):
                raise {error}

            p2pool.dev.pool.DevPool._bootstrap = broken
        return None

sys.meta_path.insert(0, Planted())
"""


def planted(stranger: Stranger, error: str) -> None:
    """Let the demo fail at its bootstrap node with an error."""
    place = stranger.home / "planted"
    place.mkdir()
    (place / "sitecustomize.py").write_text(PLANTED.replace("{error}", error))
    stranger.environment["PYTHONPATH"] = str(place)


@pytest.mark.chain
def test_a_bug_is_called_one(stranger: Stranger, cache: Path) -> None:
    """The demo's own sentence comes with the traceback, and nothing is left but logs."""
    stranger.environment |= {"XDG_CACHE_HOME": str(cache), **NO_ENGINE}
    planted(stranger, 'AttributeError("planted")')
    done = stranger.run_any(stranger.command("dev", "demo"))
    assert done.returncode == FAILED
    for word in ("this is a bug of p2pool", "please report it", "Traceback", "planted"):
        assert word in done.stderr, done.stderr
    assert done.stderr.index("this is a bug") < done.stderr.index("Traceback")
    assert stranger.left(done.stderr) == []


@pytest.mark.chain
@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (
            'ExceptionGroup("", [OSError(24, "Too many open files"),'
            ' OSError(24, "Too many open files")])',
            UNAVAILABLE,
            "ulimit -n",
        ),
        ('PermissionError(13, "Permission denied", "/x/y")', MISCONFIGURED, "ls -ld '/x/y'"),
    ],
)
def test_what_the_world_fails_at_is_not(
    stranger: Stranger, cache: Path, error: str, code: int, word: str
) -> None:
    """A sentence, once, with its step; as JSON where that is asked for."""
    stranger.environment |= {"XDG_CACHE_HOME": str(cache), **NO_ENGINE}
    planted(stranger, error)
    done = stranger.run("dev", "demo", "--json")
    assert done.returncode == code, done.stderr
    told = held(done.stderr)
    assert told["message"].startswith("While deploying the contracts: ")
    assert word in told["hint"]
    assert stranger.left(told["hint"]) == []


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (OSError(28, "No space left on device", "/a/b"), DiskFull, "df -h '/a'"),
        (OSError(28, "No space left on device"), DiskFull, "df -h"),
        (OSError(30, "Read-only file system", "/a/b"), Misconfigured, "ls -ld"),
        (OSError(36, "File name too long", "/a/b"), Misconfigured, "shorter"),
        (OSError(11, "Resource temporarily unavailable"), Unavailable, "ulimit"),
        (OSError(5, "Input/output error", "/a"), Unavailable, "dmesg"),
        (OSError(2, "No such file or directory", "/a"), P2poolError, "/a: No such file"),
        (OSError("something"), P2poolError, "something."),
        (MemoryError(), Unavailable, "free -h"),
        (subprocess.TimeoutExpired(["/bin/x", "y"], 3), Unavailable, "x did not end within 3 s"),
        (subprocess.CalledProcessError(7, "x", stderr=b"why"), Unavailable, "x failed (7): why"),
        (
            UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"),
            Malformed,
            "UTF-8",
        ),
    ],
)
def test_failures_of_the_world(error: Exception, kind: type[P2poolError], word: str) -> None:
    """Each has its kind, and most have a command to run."""
    known = failures.as_known(error)
    assert type(known) is kind
    assert word in str(known)


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("x"),
        KeyError("x"),
        AssertionError(),
        RuntimeError("x"),
        TypeError("x"),
        UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range(128)"),
    ],
)
def test_bugs_are_none_of_them(bug: Exception) -> None:
    """Nothing of ours is taken for the world's."""
    assert failures.as_known(bug) is None


def test_arguments_that_are_no_text(stranger: Stranger) -> None:
    """Bytes that are no UTF-8 where text is wanted."""
    done = stranger.run(
        "task", "run", "--dry-run", "--name", "x", "--image", "\udcff", "--", "true"
    )
    assert done.returncode != OK
    assert "error: " in done.stderr


def said(stranger: Stranger, redirection: str, *arguments: str) -> tuple[int, str, str]:
    """A command whose streams are redirected by the shell."""
    script = f'"$@" {redirection}'
    done = stranger.run_any(["bash", "-c", script, "bash", *stranger.command(*arguments)])
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_streams_that_are_closed_full_or_gone(stranger: Stranger) -> None:
    """Nothing of that is a traceback; what was asked for and could not be written is an error."""
    shown = ("--help",)
    assert said(stranger, ">&-", *shown)[0] == OK
    assert said(stranger, "<&- >&- 2>&-", *shown)[0] == OK
    assert said(stranger, "2>&-", "node", "ls", "--agent", "/no/such")[0] == UNAVAILABLE
    assert said(stranger, "2>/dev/full", "node", "ls", "--agent", "/no/such")[0] == UNAVAILABLE
    code, _, err = said(stranger, ">/dev/full", *shown)
    assert (code, "Standard output cannot be written: No space left" in err) == (FAILED, True), err
    code, _, err = said(stranger, "| true; exit ${PIPESTATUS[0]}", *shown)
    assert (code in (OK, FAILED), err) == (True, "")  # As much as was written before it went.


def test_terminals_that_take_little(stranger: Stranger) -> None:
    """Every command's help in ASCII; what is said in other characters is escaped, and JSON stays
    JSON."""
    code = (
        "import sys, click; from p2pool.cli.main import cli, mend_streams; mend_streams()\n"
        "def walk(command, path):\n"
        "    context = click.Context(command, info_name=path)\n"
        "    click.echo(command.get_help(context))\n"
        "    for name in getattr(command, 'list_commands', lambda c: ())(context):\n"
        "        walk(command.get_command(context, name), path + ' ' + name)\n"
        "walk(cli, 'p2pool')\n"
    )
    narrow = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = stranger.run_any([sys.executable, "-c", code], **narrow)
    assert done.returncode == OK, done.stderr
    assert done.stdout.count("Usage: p2pool") > 40
    where = "/no/Ümläute ☃"
    done = stranger.run("node", "ls", "--agent", where, **narrow)
    assert done.returncode == UNAVAILABLE
    assert "\\xdcml\\xe4ute \\u2603" in done.stderr
    done = stranger.run("node", "ls", "--agent", where, "--json", **narrow)
    assert where in held(done.stderr)["message"]


def test_a_narrow_terminal_without_colours(stranger: Stranger) -> None:
    """On a terminal of 80 columns no table is wider, and NO_COLOR is heeded."""
    code = (
        "from p2pool.dev.demo import Demo; from p2pool.dev.narrator import Narrator\n"
        "narrator = Narrator()\n"
        "with narrator.waiting(): narrator('a step with [red]brackets[/x] of its own')\n"
        "facts = {'nodes': 3, 'runtime': 'docker', 'first_master': {'term': 1},\n"
        "  'second_master': {'term': 2}, 'election_s': 1.0, 'log_lines': [1],\n"
        "  'containers_untouched': 3, 'tasks': [1], 'seconds': 30.0}\n"
        "Demo(None, 3, False, narrator)._close(facts)\n"
    )
    (stranger.home / "show.py").write_text(code)
    command = f"stty cols 80; {quote(sys.executable)} {quote(str(stranger.home))}/show.py"
    done = stranger.run_any(
        ["script", "-qec", command, "/dev/null"],
        NO_COLOR="1",
        TERM="xterm",
        PYTHONUTF8="1",
        PYTHONPATH=str(Path(__file__).parents[2]),
    )
    assert done.returncode == OK, done.stdout
    assert "a step with [red]brackets[/x] of its own" in done.stdout
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80
    assert re.findall(r"\x1b\[[0-9;]*3[0-7]m", done.stdout) == []
    assert "p2pool dev up" in done.stdout


def test_taken_ports(stranger: Stranger, cache: Path) -> None:
    """Of a bootstrap node and of the development chain: which, and how to find who has it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        write_config(config_of(), stranger.home / "config.toml")
        done = stranger.run(
            "bootstrap",
            "run",
            "--config",
            str(stranger.home / "config.toml"),
            "--data-dir",
            str(stranger.home / "data"),
            "--listen",
            f"/ip4/127.0.0.1/tcp/{port}",
        )
        assert done.returncode == MISCONFIGURED, done.stderr
        for word in (f"/tcp/{port}", "in use", f"sudo ss -ltnp 'sport = :{port}'"):
            assert word in done.stderr, done.stderr
        code = (
            "import sys, trio; from pathlib import Path;"
            " from p2pool.dev.chain.anvil import start_anvil;"
            " from p2pool.model.errors import PortTaken\n"
            "try: trio.run(start_anvil, Path(sys.argv[1]), print, int(sys.argv[2]))\n"
            "except PortTaken as error: print(error)"
        )
        done = stranger.run_any(
            [sys.executable, "-c", code, str(stranger.home / "chain"), str(port)],
            XDG_CACHE_HOME=str(cache),
            PYTHONPATH=str(Path(__file__).parents[2]),
        )
        assert f"The development chain cannot listen on 127.0.0.1:{port}" in done.stdout, (
            done.stderr
        )
        assert f"sport = :{port}" in done.stdout


async def test_what_a_child_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of the pool's that does not start is quoted, by its error or its last lines; one
    that was killed without a word is guessed at."""
    config = attrs.evolve(config_of(), network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/x",)))
    write_config(config, tmp_path / "c.toml")
    arguments = ["bootstrap", "run", "--json", "--data-dir", str(tmp_path / "data"), "--config"]
    child, output = spawn("bootstrap", [*arguments, str(tmp_path / "c.toml")], tmp_path, {})
    with pytest.raises(Unavailable) as caught:
        await wait_line(child, output)
    assert "bootstrap did not start: '/ip4/127.0.0.1/tcp/x' is not an address" in str(caught.value)
    assert "{" not in caught.value.message
    assert str(tmp_path / "bootstrap.log") in caught.value.hint
    child, output = spawn("agent-1", ["--help"], tmp_path, {})
    child.signal(9)
    with pytest.raises(Unavailable, match=r"agent-1 did not start: it was killed.*memory"):
        await wait_line(child, output)


def test_few_open_files(stranger: Stranger) -> None:
    """A limit that is too low for anything: still no traceback of the demo's."""
    script = 'ulimit -n 12; exec "$@"'
    command = ["bash", "-c", script, "bash", *stranger.command("dev", "up", "--dir", "pool")]
    done = stranger.run_any(command, **NO_ENGINE)
    assert done.returncode != OK
    assert "ulimit -n" in done.stderr or "Too many open files" in done.stderr, done.stderr
    assert stranger.left() == []
