"""What containers print and what a container engine answers."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docker.errors import APIError

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.containers.docker.container.labels import (
    gpus_of,
    read_labels,
    scope_labels,
)
from p2pool.drivers.containers.docker.container.state import status_of
from p2pool.drivers.containers.docker.engine.answers import fields
from p2pool.drivers.containers.docker.engine.attachment import _pieces
from p2pool.drivers.containers.docker.engine.capabilities import support_of
from p2pool.drivers.containers.docker.engine.errors import (
    explanation,
    other_error,
    pull_error,
    start_error,
)
from p2pool.drivers.containers.docker.engine.streams import _lines, _unix_time
from p2pool.drivers.containers.docker.engine.timestamps import at_ms
from p2pool.drivers.containers.docker.images.pull import Layers
from p2pool.drivers.containers.docker.networks.host_view import read_view
from p2pool.drivers.containers.docker.networks.sandbox import sandbox_of
from p2pool.drivers.containers.docker.networks.task_network import _subnets
from p2pool.drivers.containers.line_files import LineFiles
from p2pool.drivers.containers.process.line_reader import LineReader
from p2pool.model.errors import P2poolError, RuntimeUnavailable
from p2pool.model.ids import NodeId
from p2pool.model.ports.runtime import RuntimeScope
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import texts
from tests.fuzz.targets.text import text_of
from tests.wire.samples import NODE_ID, POOL

SCOPE = RuntimeScope(POOL, NodeId(NODE_ID))
STAMP = b"2024-05-06T07:08:09.123456789Z"
INTEGER_MAX = 2**63


def _frames() -> Iterator[bytes]:
    line = STAMP + b" hello\n"
    yield b"".join(
        bytes([stream, 0, 0, 0]) + len(line).to_bytes(4, "big") + line for stream in (1, 2)
    )
    yield b"\x01\0\0\0\0\0\0\0"
    yield b"\x02\0\0\0\xff\xff\xff\xff" + STAMP


def _cut(data: bytes) -> Iterator[bytes]:
    """The bytes in pieces: the first says how long they are."""
    size = 1 + (data[0] if data else 0)
    return (data[at : at + size] for at in range(1, len(data), size))


@target("containers-log", seeds=_frames, allowed=[RuntimeUnavailable])
def log(data: bytes) -> None:
    """A container's log as the engine sends it, in whatever pieces: its lines are whole."""
    for line in _lines(_cut(data)):
        chunk = line.chunk()
        assert -INTEGER_MAX < chunk.at_ms < INTEGER_MAX
        assert float(_unix_time(line.stamp)) < INTEGER_MAX


@target("containers-output", seeds=_frames, allowed=[RuntimeUnavailable])
def output(data: bytes) -> None:
    """What a container writes, piece by piece: no byte of it comes twice."""
    pieces = list(_pieces(_cut(data)))
    assert sum(len(piece) for _, piece in pieces) <= len(data)


@target(
    "containers-time",
    seeds=texts(
        STAMP.decode(),
        "2024-05-06T07:08:09+02:00",
        "0001-01-01T00:00:00Z",
        "",
        "9999-12-31T23:59:59.9-23:59",
        "2024-05-06T07:08:09.5+02:00",
    ),
    allowed=[],
)
def stamp(data: bytes) -> None:
    """A time of the engine's."""
    assert -INTEGER_MAX < at_ms(text_of(data)) < INTEGER_MAX


def _json(data: bytes) -> Any:
    try:
        return None if too_deep(data.decode("latin-1")) else json.loads(data)
    except ValueError:
        return None


LABELS = scope_labels(SCOPE) | {
    "p2pool.task": "01" * 16,
    "p2pool.replica": "0",
    "p2pool.attempt": "1",
    "p2pool.token": "1.2.3",
    "p2pool.spec": "02" * 32,
    "p2pool.gpus": "a,b",
    "p2pool.image": "sha256:1",
}


def _records() -> Iterator[bytes]:
    state = {"Status": "exited", "ExitCode": 1, "StartedAt": STAMP.decode(), "FinishedAt": ""}
    yield json.dumps({"Config": {"Labels": LABELS}, "State": state, "Image": "x"}).encode()
    health = {"Status": "running", "Health": {"Status": "healthy"}, "StartedAt": STAMP.decode()}
    yield json.dumps({"Config": {"Labels": LABELS}, "State": health}).encode()
    yield json.dumps({"Config": {"Labels": None}}).encode()


@target("containers-record", seeds=_records, allowed=[RuntimeUnavailable])
def record(data: bytes) -> None:
    """The engine's record of a container: a status whose numbers the log takes, or none."""
    found = status_of(SCOPE, fields(_json(data)))
    if found is not None:
        numbers = (found.attempt, found.exit_code or 0, found.started_at_ms, found.finished_at_ms)
        token = found.token
        assert all(abs(n) < INTEGER_MAX for n in (*numbers, token.epoch, token.term, token.index))
        assert found.attempt >= 0
        assert found.allocation.replica >= 0


@target("containers-labels", seeds=lambda: iter([json.dumps(LABELS).encode()]), allowed=[])
def labels(data: bytes) -> None:
    """Labels of a container: somebody else's may say anything, in texts."""
    given = _json(data)
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        return
    merged = {**scope_labels(SCOPE), **given}
    gpus_of(given)
    sandbox_of(SCOPE, {**merged, "p2pool.sandbox": str(given.get("p2pool.task"))})
    said = read_labels(SCOPE, merged)
    if said is not None:
        token = said.token
        for n in (said.attempt, said.allocation.replica, token.epoch, token.term, token.index):
            assert 0 <= n < INTEGER_MAX, "a number that no log entry takes"
        written = (f"{token.epoch}.{token.term}.{token.index}", str(said.attempt))
        assert written == (merged["p2pool.token"], merged["p2pool.attempt"]), "not as we write it"
        assert str(said.allocation.replica) == merged["p2pool.replica"], "not as we write it"


def _engines() -> Iterator[bytes]:
    version = {"ApiVersion": "1.43", "Version": "24.0", "Os": "linux"}
    info = {
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "xfs"]],
        "Runtimes": {"runc": {}},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=GPU-1"}],
        "CDISpecDirs": ["/etc/cdi"],
        "InitCommit": {"ID": "N/A"},
        "Warnings": ["x"],
        "Architecture": "x86_64",
    }
    yield json.dumps([version, info]).encode()
    yield json.dumps([{}, {}]).encode()


@target("containers-engine", seeds=_engines, allowed=[RuntimeUnavailable])
def engine(data: bytes) -> None:
    """What an engine says of itself."""
    given = _json(data)
    if isinstance(given, list) and len(given) == 2:
        support_of(fields(given[0]), fields(given[1])).info()


@target(
    "containers-networks",
    seeds=texts(
        '[{"IPAM":{"Config":[{"Subnet":"10.0.0.0/8"},{"Subnet":"fd00::/64"}]}},{"IPAM":null}]'
    ),
    allowed=[RuntimeUnavailable],
)
def networks(data: bytes) -> None:
    """The networks that an engine lists."""
    given = _json(data)
    if isinstance(given, list):
        _subnets([fields(one) for one in given])  # type: ignore[misc]


def _views() -> Iterator[bytes]:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    row = "eth0\t0000FEA9\t00000000\t0001\t0\t0\t1000\t0000FFFF\t0\t0\t0"
    addresses = (
        "1: lo inet 127.0.0.1/8\n2: eth0 inet 10.8.0.1 peer 10.8.0.2/32\n3: e inet6 fd::1/64"
    )
    yield f"{head}{row}\n==\n{addresses}\n==\nnameserver 1.1.1.1%eth0".encode()


@target("containers-view", seeds=_views, allowed=[ValueError])
def view(data: bytes) -> None:
    """What the helper reads of the machine's network."""
    read_view(text_of(data))


def _progress() -> Iterator[bytes]:
    line = {"id": "a", "status": "Downloading", "progressDetail": {"current": 1, "total": 9}}
    yield json.dumps([line, {"id": "a", "status": "Pull complete"}, {"status": "x"}]).encode()


@target("containers-pull", seeds=_progress, allowed=[RuntimeUnavailable])
def pull(data: bytes) -> None:
    """The progress of a pull, which repeats what a registry says."""
    given = _json(data)
    layers = Layers()
    for line in given if isinstance(given, list) else []:
        layers.take(fields(line))
        done = layers.sum()
        assert abs(done.done_bytes) < INTEGER_MAX
        assert abs(done.total_bytes) < INTEGER_MAX


@target(
    "containers-refusal",
    seeds=texts('OCI runtime create failed: runc create failed: exec: "x": not found', "x509: bad"),
    allowed=[],
)
def refusal(data: bytes) -> None:
    """The sentence of a refusal becomes an error of ours, whatever it says."""
    text = text_of(data)
    error = APIError("x", None, text)
    makers: tuple[Callable[[APIError], P2poolError], ...] = (start_error, other_error)
    for make in makers:
        assert len(str(make(error))) < 8192
    assert len(str(pull_error("busybox", text))) < 8192
    explanation(error).encode()


@target("containers-lines", seeds=texts("a\nb\n\nc", "x" * 300), allowed=[], most_bytes=2048)
def lines(data: bytes) -> None:
    """What a process prints comes out of the files of lines as it went in."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        files = LineFiles(Path(name), 4096, 64, 64)
        for piece in _cut(b"\x20" + data):
            files.take(1, piece)
        files.finish(1)
        reader, found = LineReader(Path(name)), b""
        while chunks := reader.read(0):
            found += b"".join(chunk.data for chunk in chunks)
        reader.close()
        os.close(files.file)
        assert found == data
