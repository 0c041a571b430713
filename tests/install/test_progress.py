"""An installation shows how far it is: one line that changes on a terminal, lines elsewhere."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests.install.checkout import DEADLINE_S, ROOT, Checkout, put_wheel

NUMBER = 30
WIDTH = 60


def on_a_terminal(checkout: Checkout) -> str:
    """All that a terminal of WIDTH columns is sent by an installation."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["make", "setup"],
        cwd=checkout.path,
        env=checkout.with_environment(TERM="xterm", COLUMNS=str(WIDTH)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            break
        if not data:
            break
        told += data
    os.close(ours)
    assert process.wait(DEADLINE_S) == 0, told
    return told.decode()


def many(checkout: Checkout) -> None:
    """Have it require NUMBER packages, each of which takes pip a moment."""
    names = [f"package{number}" for number in range(NUMBER)]
    source = "\n".join(f"value_{number} = {number}" for number in range(2000)).encode()
    for name in names:
        files = {f"{name}/module_{number}.py": source for number in range(6)}
        put_wheel(checkout.path / "packaging" / "wheels", name, files)
    checkout.requires(*names)


def test_a_terminal_shows_one_line_that_changes(begun: Checkout) -> None:
    """It never wraps, counts the packages up to their number, and is gone in the end."""
    many(begun)
    told = on_a_terminal(begun)
    changing = re.findall(r"\r\x1b\[K([^\r\n]+)", told)
    assert changing
    assert all(len(text) < WIDTH for text in changing)
    counts = [
        int(found[1]) for text in changing if (found := re.search(rf"\((\d+)/{NUMBER + 1}\)", text))
    ]
    assert counts == sorted(counts)
    # A quick machine is looked at once or twice in all that time.
    assert counts, told
    assert 0 <= counts[0] <= counts[-1] <= NUMBER + 1
    kept = [line.rpartition("\x1b[K")[2].strip() for line in told.splitlines()]
    assert any(f"installing {NUMBER + 1} packages" in line for line in kept)
    assert "p2pool is installed in .venv" in kept[-1]


def test_elsewhere_lines_come_at_intervals(begun: Checkout) -> None:
    """No control characters, and the packages' names; here the interval is made short."""
    progress = begun.path / "packaging" / "progress.py"
    text = progress.read_text()
    assert "EVERY_S = 10.0" in text
    progress.write_text(text.replace("EVERY_S = 10.0", "EVERY_S = 0.0"))
    many(begun)
    done = begun.make("setup")
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    assert re.search(r"installing \d+ packages: package\d+ \(\d+/\d+\)", done.stdout), done.stdout


@pytest.mark.parametrize("where", [">&- 2>&- <&-", "| head -n 1"])
def test_it_installs_where_nobody_reads(begun: Checkout, where: str) -> None:
    """A closed, full or broken output silences the installation, and does not end it."""
    script = f"set -o pipefail; make setup {where}"
    done = begun.run([str(begun.tools / "bash"), "-c", script])
    assert (done.returncode, done.stderr) == (0, "")
    assert "varint" in begun.packages()
    assert not (begun.venv / "begun").exists()


def test_it_fails_as_usual_where_nobody_reads(begun: Checkout) -> None:
    """The exit code is that of the failure, and nothing is written on top of it."""
    begun.requires("no-such-thing-of-p2pool")
    script = "sh packaging/setup >/dev/full 2>&1"
    done = begun.run([str(begun.tools / "bash"), "-c", script])
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("sentence", ["it failed", "it failed.", "it failed...", "it failed. "])
def test_a_failure_ends_in_one_full_stop(sentence: str) -> None:
    """It may quote the last words of pip, which have one of their own or not."""
    script = f"import progress; progress.Progress().fail({sentence!r}, 'try again')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "packaging",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "p2pool: it failed.\n  To do: try again\n"
