"""A file of an ended container is read out of an archive that nobody has to be honest about."""

import base64
import io
import json
import tarfile
from typing import Any

import attrs
import pytest
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.docker.container.files import HEADERS_MAX_BYTES, archived_file
from p2pool.model.errors import Malformed, NotFound, P2poolError, RuntimeUnavailable

PATH = "/out/work.json"
MOST = 16
GO_DIRECTORY, GO_LINK, GO_PIPE = 1 << 31, 1 << 27, 1 << 25


def archive(content: bytes, kind: bytes = tarfile.REGTYPE, name: str = "work.json") -> bytes:
    """As the engine packs one thing."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@attrs.define
class Engine:
    """The SDK's client, as far as it is used, of an engine that says and sends what it is told."""

    sent: bytes = b""
    stat: Any = None
    missing: bool = False
    read_bytes: int = 0
    closed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        said = base64.b64encode(json.dumps(self.stat).encode()).decode()
        return {} if self.stat is None else {"x-docker-container-path-stat": said}

    @property
    def raw(self) -> "Engine":
        return self

    def read(self, most: int) -> bytes:
        self.read_bytes = min(most, len(self.sent))
        return self.sent[:most]

    def close(self) -> None:
        self.closed = True

    def _url(self, text: str, name: str) -> str:
        return text.format(name)

    def _get(self, url: str, *, stream: bool, **more: dict[str, str]) -> "Engine":
        asked = {"params": {"path": PATH}, "headers": {"Accept-Encoding": "identity"}}
        assert (url, more, stream) == ("/containers/c/archive", asked, True)
        return self

    def _raise_for_status(self, _: object) -> None:
        if self.missing:
            raise NoSuch("no such file")


@pytest.mark.parametrize("stat", [None, {"mode": 0o644, "size": 4}, "nonsense"])
def test_a_file_is_read_whole(stat: Any) -> None:
    """Whatever the engine says before it; one with a long name has more headers."""
    engine = Engine(archive(b"four"), stat)
    assert archived_file(engine, "c", PATH, MOST) == b"four"
    assert engine.closed
    named = Engine(archive(b"four", name="d" * 90 + "/" + "n" * 250))
    assert archived_file(named, "c", PATH, MOST) == b"four"


@pytest.mark.parametrize(
    ("engine", "kind", "why"),
    [
        (Engine(missing=True), NotFound, "left no file"),
        (Engine(stat={"mode": GO_DIRECTORY | 0o755, "size": 9}), Malformed, "no regular file"),
        (Engine(stat={"mode": GO_LINK | 0o777, "size": 9}), Malformed, "no regular file"),
        (Engine(stat={"mode": GO_PIPE | 0o600, "size": 0}), Malformed, "no regular file"),
        (Engine(stat={"mode": 0o644, "size": 17}), Malformed, "longer than 16 bytes"),
        (Engine(archive(b"", tarfile.SYMTYPE)), Malformed, "no regular file"),
        (Engine(archive(b"", tarfile.DIRTYPE)), Malformed, "no regular file"),
        (Engine(archive(b"x" * 17)), Malformed, "longer than 16 bytes"),
        (Engine(archive(b"")[:100]), RuntimeUnavailable, "cannot be read"),
        (Engine(b"\xff" * 1024), RuntimeUnavailable, "cannot be read"),
        (Engine(archive(b"sixteen bytes...")[:520]), RuntimeUnavailable, "in the middle|be read"),
    ],
)
def test_what_is_no_such_file_is_told(engine: Engine, kind: type[P2poolError], why: str) -> None:
    """As the task's fault where it is that, and the connection ends with the call."""
    with pytest.raises(kind, match=why):
        archived_file(engine, "c", PATH, MOST)
    assert engine.closed


def test_no_more_than_the_bound_is_read() -> None:
    """Of an engine that says one thing and sends another."""
    engine = Engine(archive(b"x" * 10_000_000), {"mode": 0o644, "size": 4})
    with pytest.raises(P2poolError):
        archived_file(engine, "c", PATH, MOST)
    assert engine.read_bytes <= MOST + HEADERS_MAX_BYTES
