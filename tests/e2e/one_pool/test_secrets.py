"""Secrets from a command line to a copy on a real engine, through a pool of real agents."""

from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import APIError

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from tests.containers.harness.registry import PASSWORD, USER, running_registry
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

SIZE = ("--cpus", "0.1", "--memory", "64MiB")
READ = f'cat /run/secrets/db.password; echo "$API_KEY"; {ENDLESS}'


def inside(engine: Engine, task: str, *command: str) -> str:
    """What a command beside a task's only copy says."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    try:
        (row,) = client.containers(filters={"label": [f"p2pool.task={task}"]})
        made = client.exec_create(row["Id"], list(command))
        return str(client.exec_start(made["Id"]).decode())
    finally:
        client.close()


def arguments_of_all() -> str:
    """The arguments of all processes of this machine, as anybody sees them."""
    found = ""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += place.read_bytes().decode(errors="replace")
    return found


async def test_from_a_flag_to_a_file_and_a_variable_and_on_to_new_values(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """Submitted at one agent, read by the copy, replaced by another command; in no answer, file of
    the pool or process list."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    (tmp_path / "password").write_text("canary-of-the-file\n")
    made = p2pool(
        *("task", "run", "--name", "secretive", "--image", BUSYBOX_IMAGE, *SIZE, "--wait"),
        *("--secret", f"db.password=file:{tmp_path}/password", "--secret-env", "API_KEY"),
        *("--", "sh", "-c", READ),
        API_KEY="canary-of-the-variable",
        **acting.environment(first),
    )
    assert made.returncode == 0, made.stderr
    task = made.stdout.strip()
    assert inside(engine, task, "cat", "/run/secrets/db.password") == "canary-of-the-file\n"

    async def said(words: str) -> bool:
        log = p2pool("task", "logs", task, **acting.environment(acting.agents[1]))
        return words in log.stdout

    await acting.pool.wait("the log", lambda: said("canary-of-the-file\ncanary-of-the-variable"))
    shown = p2pool("task", "show", task, "--json", **acting.environment(acting.agents[2]))
    assert "db.password" in shown.stdout
    for text in (shown.stdout, arguments_of_all(), made.stderr):
        assert "canary" not in text
    files = [one for one in pool_directory.rglob("*") if one.is_file()]
    assert [one for one in files if b"canary-of-the" in one.read_bytes()] == []
    missing = p2pool("task", "set-secret", task, "API_KEY=-", **acting.environment(first))
    assert missing.returncode == 2
    assert "Give db.password too" in missing.stderr
    changed = p2pool(
        *("task", "set-secret", task, "db.password=env:NEW", "API_KEY=env:NEW"),
        NEW="canary-of-the-rotation",
        **acting.environment(acting.agents[1]),
    )
    assert changed.returncode == 0, changed.stderr

    async def rotated() -> bool:
        try:
            return inside(engine, task, "cat", "/run/secrets/db.password") == (
                "canary-of-the-rotation"
            )
        except (ValueError, APIError):  # No copy, two of them, or one that ends, for a moment.
            return False

    await acting.pool.wait("the new value in the copy", rotated)
    await acting.stop_task(first, task)


async def test_a_value_on_the_command_line_goes_nowhere(pool_directory: Path) -> None:
    """It is refused with the reason, before anything is signed."""
    acting = Acting.on(pool_directory)
    made = p2pool(
        *("task", "run", "--image", BUSYBOX_IMAGE, "--secret", "a=hunter2-canary"),
        **acting.environment(acting.agents[0]),
    )
    assert made.returncode == 2
    assert "seen by every user of this machine" in made.stderr
    assert "hunter2" not in made.stderr + made.stdout


async def test_a_private_image_with_the_tasks_own_credentials(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """Fetched with them, and kept in no file. Who may use it next is tested with one agent on one
    engine: agents that share one, as here, keep a record each."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    with running_registry(tmp_path / "registry", engine, login=True) as registry:
        registry.push("team/tool:1", mib=1)
        image = f"{registry.host}/team/tool:1"
        made = p2pool(
            *("task", "run", "--image", image, *SIZE, "--wait"),
            *("--registry-auth", f"{registry.host}={USER}:env:TOKEN", "--", "sh", "-c", ENDLESS),
            TOKEN=PASSWORD,
            **acting.environment(first),
        )
        assert made.returncode == 0, made.stderr
        task = made.stdout.strip()
        (copy,) = await acting.wait_states(first, task, "running")
        assert copy["image_digest"].startswith("sha256:")
        files = [one for one in pool_directory.rglob("*") if one.is_file()]
        assert [one for one in files if PASSWORD.encode() in one.read_bytes()] == []
    await acting.stop_task(first, task)
