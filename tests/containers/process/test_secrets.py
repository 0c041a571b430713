"""Secrets of plain processes: in memory only, for as long as the command runs."""

import os
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.drivers.containers.process import secret_files
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.drivers.containers.process.secret_files import secrets_of
from p2pool.model.errors import CannotStart, NotOffered, RuntimeUnavailable
from p2pool.model.ports.runtime import ContainerPlan
from p2pool.model.tasks.secrets import SecretUse, SecretValue, TaskSecrets
from tests.containers.harness.plans import FOREVER, SCOPE, first_lines, plan, run_to_end

FILE = SecretValue("password", b"canary-of-it\n\0\xff")
VARIABLE = SecretValue("key", b"canary-in-a-variable", file=False, variable="API.KEY")


def secret_plan(script: str, *secrets: SecretValue) -> ContainerPlan:
    """A plan whose specification names these secrets, and that has them."""
    uses = tuple(SecretUse(one.name, one.file, one.variable or "") for one in secrets)
    named = TaskSecrets(uses=uses, digest="ab" * 32, size_bytes=9)
    return attrs.evolve(plan(script, secrets=named), secrets=secrets)


def place_of(runtime: ProcessRuntime, of: ContainerPlan) -> Path:
    """Where a plan's secrets lie while it runs."""
    return secrets_of(runtime._runs.path(of.allocation, of.attempt))


async def test_they_are_there_while_it_runs_and_nowhere_else(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """A file and a variable with every byte; on no disk; gone with its end."""
    script = (
        'od -An -tx1 "$P2POOL_SECRETS/password"; stat -c %a "$P2POOL_SECRETS/password";'
        ' tr "\\0" "\\n" < /proc/$$/environ | grep -a API; grep core /proc/self/limits;'
        " while [ ! -e go ]; do sleep 0.02; done"
    )
    wanted = secret_plan(script, FILE, VARIABLE)
    await runtime.start(wanted)
    with trio.fail_after(30):
        said = await first_lines(runtime, wanted, 4)
    assert said[0].split() == [f"{one:02x}" for one in FILE.value]
    assert said[1:3] == ["400", "API.KEY=canary-in-a-variable"]
    assert said[3].split()[4:6] == ["1", "1"]
    assert place_of(runtime, wanted).is_dir()
    files = [one for one in tmp_path.rglob("*") if one.is_file() and "lines" not in one.parts]
    assert [one for one in files if b"canary" in one.read_bytes()] == []
    (runtime._runs.path(wanted.allocation, wanted.attempt) / "files/go").touch()
    await run_to_end(runtime, wanted)
    assert not place_of(runtime, wanted).exists()


async def test_a_restart_needs_them_again(runtime: ProcessRuntime) -> None:
    """New values take the place of old ones; without any it does not begin."""
    wanted = secret_plan('cat "$P2POOL_SECRETS"/*', SecretValue("a", b"1\n"))
    await run_to_end(runtime, wanted)
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.restart(wanted.allocation, wanted.attempt)
    await runtime.restart(wanted.allocation, wanted.attempt, (SecretValue("a", b"2\n"),))
    with trio.fail_after(30):
        assert await first_lines(runtime, wanted, 2) == ["1", "2"]


async def test_what_was_not_opened_is_not_started(runtime: ProcessRuntime) -> None:
    """Nor what no process can have, nor a command that is not there: nothing of them is left."""
    wanted = attrs.evolve(secret_plan(FOREVER, FILE, VARIABLE), secrets=(FILE,))
    with pytest.raises(RuntimeUnavailable, match="does not start without"):
        await runtime.start(wanted)
    with pytest.raises(CannotStart, match="zero byte"):
        await runtime.start(secret_plan(FOREVER, attrs.evolve(VARIABLE, value=b"1\0")))
    missing = secret_plan("", FILE)
    missing = attrs.evolve(missing, spec=attrs.evolve(missing.spec, command=("/none",)))
    with pytest.raises(CannotStart):
        await runtime.start(missing)
    assert not place_of(runtime, wanted).exists()
    assert await runtime.list() == ()


async def test_what_a_killed_shim_left_goes_at_the_next_start(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """And what a run has that goes on stays."""
    running = secret_plan(FOREVER, FILE)
    await runtime.start(running)
    left = secrets_of(runtime._runs.path(running.allocation, 9))
    left.mkdir()
    (left / "x").touch()
    foreign = secrets_of(tmp_path / "another" / "run")
    foreign.mkdir()
    try:
        await ProcessRuntime(SCOPE, tmp_path).list()
        assert not left.exists()
        assert place_of(runtime, running).exists()
        assert foreign.exists()
    finally:
        foreign.rmdir()


async def test_a_machine_without_memory_for_them_is_told(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not written to its disk instead, nor below what somebody else made."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(secret_files, "PLACES", (str(tmp_path),))
        with pytest.raises(NotOffered, match="no file system in memory"):
            await runtime.start(secret_plan(FOREVER, FILE))
    place = Path("/dev/shm") / f"p2pool-{os.urandom(4).hex()}"
    place.mkdir(mode=0o755)
    (place / f"p2pool-{os.getuid()}").mkdir(mode=0o755)
    try:
        monkeypatch.setattr(secret_files, "PLACES", (str(place),))
        with pytest.raises(RuntimeUnavailable, match="not this agent's own"):
            await runtime.start(secret_plan(FOREVER, FILE))
    finally:
        (place / f"p2pool-{os.getuid()}").rmdir()
        place.rmdir()
