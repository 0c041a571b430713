"""Trees in volumes, which belong to containers and may be hostile: measured, exported, deleted.

Intuition: what a container writes has that container's owners and modes, so an agent that is not
root cannot even look into a directory of mode 700. And whoever walks such a tree can be led astray:
links are planted and swapped, directories nested a thousand deep. A helper container has the right
to read everything and sees one volume only, so there is nothing that a planted name could reach.

Invariants: a tree that was not counted whole is never taken for a small one; an archive that is not
whole never ends as if it were.
Source: find(1), tar(1) and rm(1) of GNU, which go through a tree by open directories.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import attrs
import trio

from p2pool.drivers.containers.docker.helper import Helper, HelperMount, Ran
from p2pool.model import limits
from p2pool.model.errors import Conflict, P2poolError, RuntimeUnavailable

SHELL = ("/bin/busybox", "sh", "-c")
# Not DAC_READ_SEARCH, which reading would need alone: with it a program that was taken over could
# open any file of the machine by its handle. What is only read is mounted read-only.
READ, DELETE = ("DAC_OVERRIDE",), ("DAC_OVERRIDE", "FOWNER")
MEASURE = r"""
i=0
while [ $i -lt $0 ]; do
  {
    {
      timeout $2 /usr/bin/find /v/$i -mindepth 1 -xdev -printf '%b %n %y %D:%i\n' 2>&1 >&3
      [ $? = 143 ] && echo "it took longer than $2 s"
    } |
      grep -v -E ': (No such file or directory|Not a directory|Too many levels of .*)$' |
      head -n 1 | cut -c -200 | sed "s/^/$i /" >&2
  } 3>&1 | head -n $(($1 + 1)) | awk -v i=$i '
    $2 > 1 && $3 != "d" { if ($4 in seen) next; seen[$4] }
    { used += $1 }
    END { printf "%d %.0f %d\n", i, used * 512, NR }'
  i=$((i + 1))
done
"""
"""Arguments: how many trees, how many entries of each, how many seconds for each. A line for each
tree: its number, its bytes (of a file with several names once), its entries. What is gone when find
comes to it is no error; the first other error goes to stderr, after the tree's number."""
ARCHIVE = r"""
set -o pipefail
cd /v && /usr/bin/find . -mindepth 1 -maxdepth 1 -printf '%P\0' | sort -z |
  /bin/tar --create --format=posix --pax-option=delete=atime,delete=ctime --sparse --sort=name \
    --numeric-owner --one-file-system --null --verbatim-files-from --files-from=-
"""
"""Tar's exit code 1: a file changed or went meanwhile; 2: something could not be read."""
CLEAR = "/usr/bin/find /v -mindepth 1 -maxdepth 1 -exec /bin/rm -rf --one-file-system -- {} +"


@attrs.frozen
class Measured:
    """The size of a tree. `doubt`: why there may be more than was counted, or None."""

    used_bytes: int
    doubt: str | None = None


class VolumeTrees:
    """The trees of one agent's volumes. `place`: a volume's directory, as it is mounted."""

    def __init__(self, helper: Helper) -> None:
        """Makes no call to the engine yet."""
        self._helper = helper
        # One walk at a time: the disk is for the tasks.
        self._measuring, self._deleting = trio.CapacityLimiter(1), trio.CapacityLimiter(1)

    async def measure(self, places: Sequence[Path], *, of_engine: bool = False) -> list[Measured]:
        """The disk space that each tree takes. `of_engine`: they are volumes of the engine's."""
        found: list[Measured] = []
        async with self._measuring:
            for at in range(0, len(places), limits.VOLUMES_MEASURED_AT_ONCE):
                some = places[at : at + limits.VOLUMES_MEASURED_AT_ONCE]
                found += await self._measure(some, of_engine)
        return found

    async def _measure(self, places: Sequence[Path], of_engine: bool) -> list[Measured]:
        most, each_s = limits.VOLUME_ENTRIES_MAX, limits.VOLUME_MEASURE_DEADLINE_S
        command = (*SHELL, MEASURE, str(len(places)), str(most), str(each_s))
        ran = await self._helper.run(
            command,
            mounts=[HelperMount(p, f"/v/{i}", True, of_engine) for i, p in enumerate(places)],
            capabilities=READ,
            deadline_ms=(len(places) + 1) * each_s * 1000,
        )
        lines = [line.split(" ") for line in ran.stdout.decode().splitlines()]
        counted = {int(number): (int(used), int(count)) for number, used, count in lines}
        doubts = dict(line.split(" ", 1) for line in _text(ran).splitlines() if " " in line)
        found = []
        for number in range(len(places)):
            used, count = counted.get(number, (0, 0))
            doubt = doubts.get(str(number))
            if number not in counted:
                doubt = "counting it was cut off"
            elif count > most:
                doubt = f"it has more than {most} entries"
            found.append(Measured(used, doubt))
        return found

    async def archive(self, place: Path) -> AsyncGenerator[bytes, None]:
        """A tree as a tar archive, piece by piece. Conflict after the last piece: it changed
        meanwhile. RuntimeUnavailable: it could not be read whole."""
        mount = HelperMount(place, "/v", read_only=True)
        stream = self._helper.stream((*SHELL, ARCHIVE), mounts=(mount,), capabilities=READ)
        async with stream as running:
            async with aclosing(running.stdout):
                async for piece in running.stdout:
                    yield piece
            ran = await running.finish()
        if ran.exit_code:
            raise _not_whole(ran)

    async def clear(self, place: Path) -> None:
        """Delete everything in a tree. RuntimeUnavailable: something stays."""
        async with self._deleting:
            ran = await self._helper.run(
                (*SHELL, CLEAR),
                mounts=(HelperMount(place, "/v"),),
                capabilities=DELETE,
                deadline_ms=limits.VOLUME_DELETE_DEADLINE_MS,
            )
        if ran.exit_code:
            raise RuntimeUnavailable(f"Not everything can be deleted: {_first_lines(ran)}.")


def _not_whole(ran: Ran) -> P2poolError:
    kind = Conflict if ran.exit_code == 1 else RuntimeUnavailable
    hint = (
        "Stop the task first: p2pool task stop. On standard output the rest can be read."
        if ran.exit_code == 1
        else ""
    )
    return kind(f"The export is not whole: {_first_lines(ran)}.", hint=hint)


def _first_lines(ran: Ran) -> str:
    """The first reasons that a command gives, in one line."""
    lines = [line for line in _text(ran).splitlines() if "Exiting with failure" not in line]
    shown = "; ".join(line.partition(": ")[2] or line for line in lines[:5]).rstrip(".")
    if len(lines) > 5:
        shown += f"; and {len(lines) - 5} more"
    return shown or f"it ended with {ran.exit_code}"


def _text(ran: Ran) -> str:
    return ran.stderr.decode(errors="replace")
