"""Copies with secrets, and what is seen of them from inside, from the engine and on its disk."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.container.labels import name_of
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model.ports.runtime import ContainerPlan
from p2pool.model.tasks.secrets import SecretUse, SecretValue, TaskSecrets
from tests.containers.harness.plans import SCOPE, lines, plan, run_to_end

VALUE = b"canary-of-it\n\0\xff 'quoted' $(id)"
TEXT = b"canary-in-a-variable 'x' \"y\" $HOME\nsecond line\n"
FILE = SecretValue("db.password", VALUE)
VARIABLE = SecretValue("api_key", TEXT, file=False, variable="API_KEY")
USED = "p2pool-test/used:1"


async def end_all(runtime: DockerRuntime) -> None:
    """Stop and remove every copy."""
    for status in await runtime.list():
        await runtime.stop(status.allocation, status.attempt, 0)
        await runtime.remove(status.allocation, status.attempt)


def secret_plan(script: str, *secrets: SecretValue, **of_spec: Any) -> ContainerPlan:
    """A plan whose specification names these secrets, and that has them."""
    named = TaskSecrets(
        uses=tuple(SecretUse(one.name, one.file, one.variable or "") for one in secrets),
        digest="ab" * 32,
        size_bytes=100,
    )
    return attrs.evolve(plan(script, secrets=named, **of_spec), secrets=secrets)


def build(client: Any, *changes: str, prepare: str = "true", image: str = USED) -> None:
    """An image of busybox with more in its configuration or files."""
    made = client.create_container(BUSYBOX_IMAGE, ["sh", "-c", prepare], runtime="runc")
    client.start(made)
    assert client.wait(made)["StatusCode"] == 0
    # A committed container hands its own command on.
    client.commit(made, *image.split(":"), changes=["CMD []", *changes])
    client.remove_container(made)


def inside(client: Any, wanted: ContainerPlan, *command: str, user: str = "") -> tuple[int, str]:
    """The exit code and output of a command run beside a copy's own."""
    name = name_of(SCOPE, wanted.allocation, wanted.attempt)
    made = client.exec_create(name, list(command), user=user)
    output = client.exec_start(made["Id"])
    return client.exec_inspect(made["Id"])["ExitCode"], output.decode(errors="replace")


def mounted(engine: Engine) -> list[str]:
    """The file systems in memory of volumes that the engine holds now."""
    data = f"{engine.directory}/data".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"dockerd" and data in words:
                rows = (place / "mounts").read_text().splitlines()
                return [row for row in rows if "-secrets/_data" in row]
    raise AssertionError("the engine does not run")


def on_disk(engine: Engine, *words: bytes) -> list[str]:
    """The files of an engine, on its disk, that hold one of these words."""
    found = []
    for path in engine.directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found += [str(path) for word in words if word in data]
    return found


async def read_out(runtime: DockerRuntime, wanted: ContainerPlan) -> list[str]:
    """What a plan writes until it ends."""
    status = await run_to_end(runtime, wanted)
    said = await lines(runtime, wanted)
    assert status.exit_code == 0, said
    return said
