"""Which user a copy's process has, by number: whose its secrets have to be.

Intuition: an image names its user as it likes: `app`, `1000`, `app:staff`, `1000:50`. The engine
looks names up in the image's own `/etc/passwd` and `/etc/group`; so do we, in the container that
was made and has not begun.

Source: `GetExecUser` of moby/sys/user, which engines and runc use.
"""

import base64
import io
import json
import stat
import tarfile
from typing import Any

from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import other_error
from p2pool.drivers.containers.docker.secrets.contents import Owner
from p2pool.model import limits
from p2pool.model.errors import CannotStart

PASSWD, GROUP = "/etc/passwd", "/etc/group"
ROOT = Owner(0, 0)
LINK = 1 << 27
"""Go's bit for a symbolic link in a mode."""
LINKS_MAX = 8
ID_MAX = 2**31 - 1


async def owner_of(engine: DockerClient, container: str, user: str) -> Owner:
    """The user of a container's process. CannotStart: its image has no such user."""
    name, _, group = user.partition(":")
    if not name and not group:
        return ROOT
    # A number needs no file: nothing here depends on its group.
    passwd = await _read(engine, container, PASSWD) if _is_name(name) else b""
    groups = await _read(engine, container, GROUP) if _is_name(group) else b""
    return found_owner(user, passwd, groups)


def _is_name(text: str) -> bool:
    return bool(text) and _number(text) is None


def found_owner(user: str, passwd: bytes, groups: bytes) -> Owner:
    """The user and group of `NAME|UID[:NAME|GID]`, looked up in the texts of the two files."""
    name, _, group = user.partition(":")
    uid, gid = (_number(name) if name else 0), 0
    if uid is None:
        row = _row(passwd, name, 4)
        if row is None:
            raise CannotStart(f"The image's user {name[:64]} is not in its {PASSWD}.")
        uid, gid = row[2], row[3]
    if group:
        found = _number(group)
        if found is None:
            row = _row(groups, group, 3)
            found = row[2] if row is not None else None
        if found is None:
            raise CannotStart(f"The image's group {group[:64]} is not in its {GROUP}.")
        gid = found
    return Owner(uid, gid)


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return int(text) if int(text) <= ID_MAX else None


def _row(data: bytes, name: str, least: int) -> dict[int, int] | None:
    """The numbers in the first row of a name, by their places; None without one."""
    for line in data.split(b"\n"):
        parts = line.decode(errors="replace").strip().split(":")
        numbers = {at: _number(part) for at, part in enumerate(parts[:least]) if at >= 2}
        if parts[0] == name and len(parts) >= least and None not in numbers.values():
            return {at: number for at, number in numbers.items() if number is not None}
    return None


async def _read(engine: DockerClient, container: str, path: str) -> bytes:
    """A file of a container, as the image has it. CannotStart: it is not there, or no such file."""

    def ask(api: Any) -> bytes | None:
        at = path
        for _ in range(LINKS_MAX):
            response = api._get(
                api._url("/containers/{0}/archive", container), params={"path": at}, stream=True
            )
            try:
                api._raise_for_status(response)
                said = json.loads(
                    base64.b64decode(response.headers.get("X-Docker-Container-Path-Stat", ""))
                )
                if not int(said.get("mode", 0)) & LINK:
                    return _first_file(response.raw.read(limits.USER_FILE_MAX_BYTES + 1))
                at = str(said.get("linkTarget"))
            finally:
                response.close()
        return None

    try:
        found = await engine.ask(ask)
    except NoSuch:
        found = None
    except APIError as error:
        raise other_error(error) from error
    except (ValueError, TypeError, AttributeError, tarfile.TarError):
        found = None
    if found is None:
        raise CannotStart(f"The image names its user, and its {path} cannot be read.")
    return found


def _first_file(archive: bytes) -> bytes | None:
    """The only file in an archive, of which the end may be missing."""
    if len(archive) > limits.USER_FILE_MAX_BYTES:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.next()
        if member is None or not stat.S_ISREG(member.mode | stat.S_IFREG) or not member.isfile():
            return None
        file = tar.extractfile(member)
        return file.read() if file is not None else None
