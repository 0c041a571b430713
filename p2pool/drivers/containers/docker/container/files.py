"""One file of an ended container, out of the archive that the engine makes of its path.

Intuition: the engine resolves directories of a path inside the container, whatever is mounted
there, and packs what it finds in a tar archive; before that it says what it is. So a link, a
directory or a file that is too long is refused by what is said, and what comes is bounded anyway.

Invariants: never more than the bound and a few headers is read; the connection ends with the call.
Source: Docker Engine API, `GET /containers/{id}/archive`.
"""

import base64
import io
import json
import tarfile
from contextlib import suppress
from typing import Any

from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.file_refusals import no_file, no_regular_file, too_long
from p2pool.model.errors import RuntimeUnavailable

HEADERS_MAX_BYTES = 64 * 1024
"""Of a tar archive with one file: its header, those of long names and times, and the padding."""
_NO_FILE = 0x8F280000
"""Bits of Go's `os.ModeType`: set for all that is no regular file."""


def archived_file(api: Any, name: str, path: str, most_bytes: int) -> bytes:
    """Its bytes. Blocks: call it in a thread, inside `engine_errors`."""
    # The SDK's own `get_archive` leaves the connection open where its caller stops reading.
    url = api._url("/containers/{0}/archive", name)
    # Packed, a few bytes could become any number.
    unpacked = {"Accept-Encoding": "identity"}
    response = api._get(url, params={"path": path}, headers=unpacked, stream=True)
    try:
        try:
            api._raise_for_status(response)
        except NoSuch as error:
            raise no_file(path) from error
        _check(response.headers.get("x-docker-container-path-stat", ""), path, most_bytes)
        data = response.raw.read(most_bytes + HEADERS_MAX_BYTES)
    finally:
        response.close()
    return content_of(data, path, most_bytes)


def content_of(data: bytes, path: str, most_bytes: int) -> bytes:
    """The one file of an archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            if member is None or not member.isreg():
                raise no_regular_file(path)
            if member.size > most_bytes:
                raise too_long(path, most_bytes)
            file = archive.extractfile(member)
            content = b"" if file is None else file.read()
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise RuntimeUnavailable(f"What the engine sends of {path} cannot be read.") from error
    if len(content) != member.size:
        raise RuntimeUnavailable(f"What the engine sends of {path} ends in the middle.")
    return content


def _check(said: str, path: str, most_bytes: int) -> None:
    """Refuse by what the engine says before the archive; what it does not say is seen later."""
    stat: Any = None
    with suppress(ValueError):
        stat = json.loads(base64.b64decode(said))
    if not isinstance(stat, dict):
        return
    mode, size = stat.get("mode"), stat.get("size")
    if isinstance(mode, int) and mode & _NO_FILE:
        raise no_regular_file(path)
    if isinstance(size, int) and size > most_bytes:
        raise too_long(path, most_bytes)
