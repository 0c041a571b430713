"""Machines that lack something: a home, rights, room, a place for temporary files, plain paths."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from p2pool.dev import places
from p2pool.drivers.config.schema import write_config
from tests.first_run.harness.configuration import config_of
from tests.first_run.harness.strangers import DEADLINE_S, Completed, Stranger, latin1

UNAVAILABLE, MISCONFIGURED = 5, 6
NOBODY, UNKNOWN = 65534, 54321
NOBODY_THERE = "http://127.0.0.1:1"
UGLY = "mit Leerzeichen, 'Strichen' und Ümläuten — ☃"
NO_ENGINE = {"DOCKER_HOST": "unix:///no/such/socket"}
NO_CHAIN = {**NO_ENGINE, "npm_config_registry": "http://127.0.0.1:1"}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and becomes other users")


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def nobody(stranger: Stranger) -> Stranger:
    """Somebody without rights, in a home of their own."""
    stranger.user = NOBODY
    for path in (stranger.home, stranger.temporary):
        os.chown(path, NOBODY, NOBODY)
    return stranger


def sentence(done: Completed, code: int, *words: str) -> None:
    """A sentence with these words, and what to do."""
    assert done.returncode == code, (done.returncode, done.stderr)
    for word in (*words, "hint: "):
        assert word in done.stderr, done.stderr


def said(path: Path) -> str:
    """What a program wrote in Latin-1 or, where there is no such locale, in UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


@pytest.mark.chain
def test_a_poor_machine(tmp_path: Path, stranger: Stranger, cache: Path) -> None:
    """No root, no entry in passwd, no HOME, no TMPDIR, an ugly path, a narrow locale, a proxy, a
    reader that goes away: a pool comes up all the same, its commands tell of it, and it goes."""
    stranger.user = UNKNOWN
    os.chown(stranger.home, UNKNOWN, UNKNOWN)
    pool = stranger.home / UGLY
    stranger.environment |= {
        **NO_ENGINE,
        **latin1(tmp_path),
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": "/no/such/place",
        # Of a company that lets nobody out: this machine's own addresses are not the proxy's.
        "http_proxy": NOBODY_THERE,
        "HTTPS_PROXY": NOBODY_THERE,
        "ALL_PROXY": NOBODY_THERE,
    }
    up = stranger.command("dev", "up", "--nodes", "1", "--dir", str(pool))
    shell = ["bash", "-c", '"$@" 2>&1 >out | head -1; exit ${PIPESTATUS[0]}', "bash"]
    done = stranger.run_any([*shell, *up], HOME=None)
    assert done.returncode == 0, done.stdout
    told = said(stranger.home / "out")  # What Latin-1 does not have is escaped.
    assert "und Ümläuten" in told
    assert "p2pool dev down --dir '" in told
    try:
        stranger.environment |= {
            "P2POOL_AGENT": str(pool / "agent-1"),
            "P2POOL_KEY": str(pool / "keys/manager.json"),
            "P2POOL_PASSPHRASE_FILE": str(pool / "keys/passphrase"),
            "PYTHONIOENCODING": "ascii",
        }
        say = ("--", "sh", "-c", "echo Grüße: ☃")
        for command in (
            ("task", "run", "--name", "hello", "--image", "none", "--wait", *say),
            ("node", "ls"),
            ("task", "ls", "-a"),
            ("task", "show", "hello"),
            ("agent", "status"),
            ("task", "show", "hello", "--json"),
            ("task", "logs", "hello"),
        ):
            done = stranger.run(*command, HOME=None)
            assert done.returncode == 0, (command, done.stderr)
        assert done.stdout
    finally:
        stranger.environment["PYTHONIOENCODING"] = "utf-8"
        done = stranger.run("dev", "down", "--dir", str(pool), HOME=None)
    assert done.returncode == 0, done.stderr
    assert not pool.exists()
    assert {path.name for path in stranger.home.iterdir()} == {"tmp", "out"}


def test_no_home(stranger: Stranger) -> None:
    """Not set and not known, or empty: what to name instead; nothing is made in odd places."""
    stranger.user = UNKNOWN
    os.chown(stranger.home, UNKNOWN, UNKNOWN)
    for home in (None, ""):
        done = stranger.run("dev", "up", HOME=home)
        sentence(done, MISCONFIGURED, "no home directory", "--dir DIR")
        sentence(stranger.run("node", "ls", HOME=home), MISCONFIGURED, "no home directory")
        sentence(
            stranger.run("agent", "run", HOME=home), MISCONFIGURED, "no home directory", "HOME"
        )
    assert [path.name for path in stranger.home.iterdir()] == ["tmp"]
    assert not Path("/.local").exists()


def test_a_home_that_cannot_be_written(nobody: Stranger, cache: Path) -> None:
    """Its data and its cache: a directory to name, and the pool's own instead."""
    os.chown(nobody.home, 0, 0)
    sentence(nobody.run("dev", "up"), MISCONFIGURED, ".local/share/p2pool-dev", "--dir DIR")
    place = nobody.temporary / "pool"
    done = nobody.run("dev", "up", "--dir", str(place), **NO_CHAIN)
    words = ("Permission denied", f"fetching anvil 1.7.1 from npm into {place}/chain")
    sentence(done, UNAVAILABLE, f"anvil cannot be kept in {nobody.home}/.cache", *words)
    assert nobody.left() == []
    sentence(nobody.run("dev", "up", "--dir", "/etc/p2pool"), MISCONFIGURED, "/etc/p2pool")
    sentence(nobody.run("dev", "up", "--dir", "/etc"), 3, "has other files")


def test_no_place_for_temporary_files(nobody: Stranger) -> None:
    """A TMPDIR that is not there is passed over; where no place is left, it is said."""
    script = "".join(
        f"mount --bind {place} {place}; mount -o remount,bind,ro {place}; "
        for place in ("/tmp", "/var/tmp")
    )
    command = ["unshare", "-m", "sh", "-c", f'{script} cd /; exec "$@"', "sh"]
    done = nobody.run_any([*command, *nobody.command("dev", "demo")], TMPDIR="/no/such")
    sentence(done, MISCONFIGURED, "temporary files", "TMPDIR", "--dir DIR")


def test_paths_that_lead_nowhere(stranger: Stranger) -> None:
    """Too long for a database, and a directory that is gone: the commands say so."""
    long = "/".join(["directory" * 10] * 6)
    done = stranger.run("dev", "up", "--dir", f"{stranger.home}/{long}")
    sentence(done, MISCONFIGURED, "more than 440 bytes", "--dir DIR")
    write_config(config_of(), stranger.home / "c.toml")
    arguments = ("--config", f"{stranger.home}/c.toml", "--data-dir", f"{stranger.home}/{long}")
    done = stranger.run("bootstrap", "run", *arguments)
    sentence(done, MISCONFIGURED, "more than 480 bytes", "--data-dir")
    gone = ["bash", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "bash"]
    done = stranger.run_any([*gone, *stranger.command("dev", "up", "--dir", "x")])
    sentence(done, MISCONFIGURED, "no longer exists", "cd ~")


def test_a_full_disk(stranger: Stranger) -> None:
    """Too little room is said before anything is made; what fills it later ends the pool."""
    with mounted(stranger.home / "disk", "size=10m") as disk:
        done = stranger.run("dev", "up", "--dir", str(disk / "a" / "pool"))
        sentence(done, UNAVAILABLE, f"There is no space in {disk}", "100 MB are needed", "du -xh")
        assert list(disk.iterdir()) == []
    with mounted(stranger.home / "disk", "size=500m,nr_inodes=1") as disk:
        assert places.no_space(disk, "for a pool", 1, "leave it").hint.startswith("Remove some")
        done = stranger.run("dev", "up", "--dir", str(disk / "pool"))
        sentence(done, UNAVAILABLE, f"No more files can be made in {disk}", "df -i")


@pytest.mark.chain
def test_a_disk_that_fills_up(stranger: Stranger, cache: Path) -> None:
    """While the pool starts: the directory is named, and nothing of it stays or blocks the next."""
    stranger.environment |= {"XDG_CACHE_HOME": str(cache), **NO_ENGINE}
    with mounted(stranger.home / "disk", "size=120m") as disk:
        place = disk / "pool"
        with stranger.started("dev", "up", "--nodes", "1", "--dir", str(place)) as up:
            up.wait_said("creating the pool")
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):  # Until there is no room at all.
                    pass
            assert up.process.wait(DEADLINE_S) == UNAVAILABLE, up.said
            for word in (f"There is no space in {disk} for a pool: 0 MB", "du -xh", "--dir DIR"):
                assert word in up.said, up.said
            assert "Traceback" not in up.said
        assert [path.name for path in disk.iterdir()] == ["filler"]
    assert stranger.left(up.said) == []  # What they said is kept where there is room.
