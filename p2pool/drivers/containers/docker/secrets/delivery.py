"""Writes a copy's secrets into its sandbox's memory, before the copy begins.

Intuition: `tar` in the running sandbox unpacks what it reads from its input. So values go through
the engine's socket and pipes alone: no argument, no variable, no configuration, no file of ours.

Invariants: nothing is written where the engine gave a directory of its disk. What cannot be written
whole is an error, and the copy does not start.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import trio
from docker.errors import APIError

from p2pool.codec.spec.secrets import DIRECTORY
from p2pool.drivers.containers.docker.engine.answers import part, text
from p2pool.drivers.containers.docker.engine.attachment import feed_command
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import explanation
from p2pool.drivers.containers.docker.secrets.contents import archive_of
from p2pool.drivers.containers.docker.secrets.owner import owner_of
from p2pool.model import limits
from p2pool.model.errors import NodeCannotStart, RuntimeUnavailable
from p2pool.model.tasks.secrets import SecretValue

ON_DISK, NO_USER = 3, 4
NOBODY = 65534
"""Whose everything is, inside a user namespace, that belongs to none of its users."""
IN_MEMORY = ("858458f6", "1021994")
"""The kernel's numbers of ramfs and tmpfs."""
SCRIPT = (
    f"case $(stat -f -c %t {DIRECTORY}) in {'|'.join(IN_MEMORY)}) ;; *) exit {ON_DISK};; esac\n"
    # An engine that was restarted around running copies may have kept what was here before, and
    # who has no right to look into every directory first makes it its own.
    f"chown 0:0 {DIRECTORY} && chmod 0700 {DIRECTORY} && cd {DIRECTORY} || exit 1\n"
    "rm -rf -- ./* ./.[!.]* || exit 1\n"
    f'touch .try && chown "$1" .try && rm .try || exit {NO_USER}\n'
    'head -c "$0" | /bin/tar -x -f - --same-owner --same-permissions --touch || exit 2\n'
    # The names are for nobody else either. It is shut first: nobody looks into what is given away.
    # Where the engine's users are not the machine's, it is nobody's, and the names can be listed.
    f'chmod 0500 . && chown "$1" . || test "$(stat -c %u .)" = {NOBODY}\n'
)
"""What the sandbox runs: `$0` bytes come, for the user and group `$1`."""


async def deliver(
    engine: DockerClient, box: str, copy: Mapping[str, Any], secrets: Sequence[SecretValue]
) -> None:
    """Write the secrets of a copy that does not run into its running sandbox. RuntimeUnavailable,
    NodeCannotStart: this node cannot. CannotStart: the copy cannot have them."""
    owner = await owner_of(engine, text(copy.get("Id")), text(part(copy, "Config").get("User")))
    archive = archive_of(secrets, owner, (await engine.support()).platform)
    command = ["/bin/busybox", "sh", "-c", SCRIPT, str(len(archive)), f"{owner.uid}:{owner.gid}"]
    code: int | None = None
    with trio.move_on_after(limits.NETWORK_STEP_DEADLINE_MS / 1000):
        code = await _ended(engine, box, command, archive)
    if code is None:
        raise RuntimeUnavailable("The secrets of a copy are not written in time.")
    if code == ON_DISK:
        raise NodeCannotStart(
            "This node's engine keeps a volume in memory on its disk: no secret is written there."
        )
    if code == NO_USER:
        raise NodeCannotStart(
            f"This node's engine has no user {owner.uid}:{owner.gid} for a copy's secrets.",
            hint="A rootless engine has the users that /etc/subuid gives it.",
        )
    if code:
        raise RuntimeUnavailable(f"The secrets of a copy cannot be written: tar ended with {code}.")


async def _ended(engine: DockerClient, box: str, command: list[str], data: bytes) -> int:
    """The exit code of a command in a sandbox that reads this from its input."""
    wait_ms = limits.NETWORK_POLL_MIN_MS
    try:
        made = await engine.ask(
            lambda c: c.exec_create(box, command, stdin=True, user="0:0", environment=["LC_ALL=C"])
        )
        await feed_command(engine, str(made["Id"]), data)
        # Its output may end a moment before the engine has its exit code.
        while (ended := await engine.ask(lambda c: c.exec_inspect(made["Id"]))).get("Running"):
            await trio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, limits.STOP_POLL_MAX_MS)
    except APIError as error:
        raise RuntimeUnavailable(
            f"The secrets of a copy cannot be written: {explanation(error)}."
        ) from error
    code = ended.get("ExitCode")
    return code if isinstance(code, int) else -1
