"""`p2pool task logs`: writes the lines of a task's copies, wherever they run.

Reading is a right too: the command signs a grant for this one task with `--key`, and the node that
has the lines checks it. One thread reads each copy and puts what it reads into one bounded queue,
so that a slow terminal slows the readers down and loses nothing. Lines that come together are
written together, with one flush.
"""

import base64
import json
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING

import attrs
import click

from p2pool.cli.shared.lookup import find_task
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.signer import Signer, plain
from p2pool.cli.shared.signing import signer_options
from p2pool.cli.shared.types import Span
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.requests import grant_for
from p2pool.model import limits
from p2pool.model.errors import Conflict, NotFound, P2poolError
from p2pool.model.ports.agent import LogOptions

if TYPE_CHECKING:
    from p2pool.model.access.grants import SignedGrant


@attrs.frozen
class _Piece:
    """Chunks of one copy's log; no chunks: the log has ended, well or with an error."""

    replica: int
    chunks: list[Answer]
    error: P2poolError | None = None


@click.command("logs")
@click.argument("name", metavar="TASK[.REPLICA]")
@click.option("-f", "--follow", is_flag=True, help="Follow: write lines as they come.")
@click.option(
    "-n", "--tail", type=click.IntRange(0, limits.LOG_TAIL_MAX_LINES), help="Only the last lines."
)
@click.option("--since", type=Span(), help="Only lines of the last TIME, such as 10m.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@signer_options
def logs(
    name: str,
    follow: bool,
    tail: int | None,
    since: int | None,
    timestamps: bool,
    signer: Signer,
) -> None:
    """Write the log of a task, or of one copy: TASK.0. With --json one object a line."""
    one, copies = _copies(signer.client, name)
    pool = signer.client.pool_ref()
    grant = grant_for(pool, one["task_id"])
    if signer.dry_run:
        from p2pool.wire import typed_data

        write_json(plain(typed_data.grant_typed_data(pool, grant)))
        return
    signed = signer.sign_grant(pool, grant)
    options = LogOptions(
        follow=follow,
        tail_lines=-1 if tail is None else tail,
        since_ms=0 if since is None else time.time_ns() // 1_000_000 - since * 1000,
    )
    writer = _Writer(len(copies) > 1, timestamps, signer.as_json)
    _read_all(signer.client, copies, signed, options, writer)


def _copies(client: AgentClient, name: str) -> tuple[Answer, list[Answer]]:
    """The task, and the copies whose log to read."""
    head, dot, tail = name.rpartition(".")
    if dot and tail.isascii() and tail.isdigit():
        try:
            one = find_task(client, head)
        except NotFound:
            pass  # A task's name may end in a dot and digits itself.
        else:
            found = [copy for copy in one["allocations"] if copy["replica"] == int(tail)]
            if not found:
                raise NotFound(
                    f"{one['name']} has no copy {tail}.",
                    hint=f"List its copies: p2pool task show {one['task_id']}.",
                )
            return one, found
    one = find_task(client, name)
    copies = [copy for copy in one["allocations"] if copy["node_id"] is not None]
    if not copies:
        raise NotFound(
            f"No copy of {one['name']} has started yet.",
            hint=f"See why: p2pool task show {one['task_id']}.",
        )
    if len(copies) > limits.CLIENT_LOG_COPIES_MAX:
        raise Conflict(
            f"{one['name']} has {len(copies)} copies; this command reads"
            f" {limits.CLIENT_LOG_COPIES_MAX} at most.",
            hint="Choose one: TASK.REPLICA.",
        )
    return one, copies


def _read_all(
    client: AgentClient,
    copies: list[Answer],
    grant: "SignedGrant",
    options: LogOptions,
    writer: "_Writer",
) -> None:
    """Write the lines of all copies; raises the first error after all have ended."""
    pieces: queue.Queue[_Piece] = queue.Queue(limits.CLIENT_LOG_QUEUE_MAX)
    for copy in copies:
        # Daemons: an interrupted command must not wait for its readers.
        threading.Thread(
            target=_read, args=(client, copy, grant, options, pieces), daemon=True
        ).start()
    left, failed = len(copies), None
    while left:
        piece = pieces.get()
        if piece.chunks:
            writer.write(piece.replica, piece.chunks)
            continue
        left -= 1
        writer.end(piece.replica)
        failed = failed or piece.error
    if failed is not None:
        raise failed


def _read(
    client: AgentClient,
    copy: Answer,
    grant: "SignedGrant",
    options: LogOptions,
    pieces: "queue.Queue[_Piece]",
) -> None:
    """Read one copy's log into the queue, then a piece without chunks."""
    replica, error = copy["replica"], None
    try:
        for chunks in client.logs(copy["id"], grant, options):
            pieces.put(_Piece(replica, chunks))
    except P2poolError as failed:
        error = failed
    pieces.put(_Piece(replica, [], error))


class _Writer:
    """Writes chunks as whole lines, each with its copy and time where asked for."""

    def __init__(self, several: bool, timestamps: bool, as_json: bool) -> None:
        self._several, self._timestamps, self._json = several, timestamps, as_json
        self._partial: dict[tuple[int, str], bytes] = {}
        self._stream = ""
        self._out: list[bytes] = []

    def write(self, replica: int, chunks: list[Answer]) -> None:
        """Write the lines that are complete."""
        for chunk in chunks:
            stream, at_ms = chunk["stream"], chunk["at_ms"]
            if "base64" in chunk:
                data = base64.b64decode(chunk["base64"])
            else:
                data = chunk["text"].encode()
            place = (replica, stream)
            *lines, rest = (self._partial.pop(place, b"") + data).split(b"\n")
            if len(rest) >= limits.LOG_LINE_MAX_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(replica, stream, at_ms, line)
            if rest:
                self._partial[place] = rest
        self._show()

    def end(self, replica: int) -> None:
        """Write the last lines of a copy, which lack a line end."""
        for stream in ("stdout", "stderr"):
            if rest := self._partial.pop((replica, stream), b""):
                self._line(replica, stream, 0, rest)
        self._show()

    def _line(self, replica: int, stream: str, at_ms: int, line: bytes) -> None:
        if self._json:
            text = line.decode("utf-8", "backslashreplace")
            value = {"replica": replica, "stream": stream, "at_ms": at_ms, "text": text}
            self._add("stdout", json.dumps(value, ensure_ascii=False).encode())
            return
        head = f"{replica} | " if self._several else ""
        if self._timestamps and at_ms:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms / 1000))
            head += f"{moment}.{at_ms % 1000:03d}Z "
        self._add(stream, head.encode() + line)

    def _add(self, stream: str, line: bytes) -> None:
        # Both streams may lead to one terminal: show first what came first.
        if stream != self._stream:
            self._show()
            self._stream = stream
        self._out.append(line)

    def _show(self) -> None:
        if self._out:
            out = sys.stderr.buffer if self._stream == "stderr" else sys.stdout.buffer
            out.write(b"\n".join(self._out) + b"\n")
            out.flush()
            self._out = []
