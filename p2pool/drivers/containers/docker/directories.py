"""Whether the engine sees the agent's directories, as a container shows it.

Intuition: an agent names directories to be mounted, and the engine looks for them on its own side:
on another machine, outside the container that the agent runs in, in a namespace or a snap of its
own. A path that is missing there fails every task; one that is another directory there would lose
what they write. So the agent writes a word that nobody can guess, and reads it from inside.

Invariants: nothing stays on the disk; what the agent keeps in its directory is not mounted.
"""

import secrets
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from p2pool.drivers.containers.docker.helper import Helper, HelperMount
from p2pool.model import limits
from p2pool.model.errors import CannotStart, DirectoryUnseen, NodeCannotStart, RuntimeUnavailable

PREFIX, WORD = ".probe-", "word"
HINT = (
    "The engine may be on another machine or have a file system of its own, or this agent may run"
    " in a container: give both the data directory at the same path (docker run -v DIR:DIR), or"
    " choose another: --data-dir."
)


@attrs.frozen
class Planted:
    """A directory of ours, and the word in it. `made`: what had to be made to put it there."""

    place: Path
    word: str
    made: tuple[Path, ...] = ()


async def probe_directories(
    helper: Helper, directories: Sequence[Path], owners: Sequence[Path] = ()
) -> None:
    """Look at the agent's `directories`, and at those of the machine's owner that tasks may mount;
    of these, one that is not here is no concern of the engine's.

    DirectoryUnseen: the engine does not see one of them. RuntimeUnavailable: it cannot run a
    container now. Misconfigured: there is no helper image for it."""
    await helper.ready()
    for directory in directories:
        planted = await trio.to_thread.run_sync(_plant, directory)
        try:
            await _look(helper, directory, planted)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_remove, planted)
    for directory in owners:
        identity = await trio.to_thread.run_sync(_identity, directory)
        if identity is not None:
            said = await _inside(helper, directory, directory, ("/bin/stat", "-c", "%d:%i", "/p"))
            if said != identity:
                raise unseen(directory, "it is another directory there")


async def _look(helper: Helper, directory: Path, planted: Planted) -> None:
    said = await _inside(helper, directory, planted.place, ("/bin/cat", f"/p/{WORD}"))
    if said != planted.word:
        raise unseen(directory, "its files are not there")


async def _inside(helper: Helper, directory: Path, mounted: Path, command: tuple[str, ...]) -> str:
    """What a command says that has `mounted` at /p."""
    try:
        ran = await helper.run(
            command,
            mounts=(HelperMount(mounted, "/p", read_only=True),),
            deadline_ms=limits.CHECK_PROBE_TIMEOUT_MS,
        )
    except (CannotStart, NodeCannotStart) as error:
        raise unseen(directory, error.message) from error
    if ran.exit_code:
        raise unseen(directory, ran.stderr.decode(errors="replace").strip()[:300])
    return ran.stdout.decode(errors="replace").strip()


def _identity(directory: Path) -> str | None:
    """A directory's device and number, which a mount does not change; None: it is not here."""
    try:
        status = directory.stat()
    except OSError:
        return None
    return f"{status.st_dev}:{status.st_ino}" if stat.S_ISDIR(status.st_mode) else None


def unseen(directory: Path, why: str) -> DirectoryUnseen:
    """The error for a directory that containers cannot have."""
    return DirectoryUnseen(
        f"The Docker Engine does not see the directory {directory} of this agent:"
        f" {why.rstrip('.')}.",
        hint=HINT,
    )


def _plant(directory: Path) -> Planted:
    place = directory / (PREFIX + secrets.token_hex(8))
    word = secrets.token_hex(16)
    made = tuple(one for one in (directory, *directory.parents) if not one.exists())
    planted = Planted(place, word, made)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir()
        (place / WORD).write_text(word)
        # A container's root may be a user of its own here.
        place.chmod(0o755)
        (place / WORD).chmod(0o644)
    except OSError as error:
        _remove(planted)
        raise RuntimeUnavailable(
            f"Nothing can be written in {directory}: {error.strerror}.",
            hint="Choose another data directory: --data-dir.",
        ) from error
    return planted


def _remove(planted: Planted) -> None:
    shutil.rmtree(planted.place, ignore_errors=True)
    for directory in planted.made:
        with suppress(OSError):  # Somebody uses it meanwhile.
            directory.rmdir()
