"""`p2pool task logs`: writes the lines of a task's copies, wherever they run.

Reading is a right too: the command signs a grant for this one task with `--key`, and the node that
has the lines checks it. One thread reads each copy and puts what it reads into one bounded queue,
so that a slow terminal slows the readers down and loses nothing. Lines that come together are
written together, with one flush. Following goes on with the next attempt (`cli.task.follow`).
"""

import base64
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import click

from p2pool.cli.documents import envelope, json_text, visible
from p2pool.cli.shared.lookup import LIVING, find_copy
from p2pool.cli.shared.signer import Signer
from p2pool.cli.shared.signing import signer_options
from p2pool.cli.shared.types import Number, Span
from p2pool.cli.task.follow import PLACELESS, Follower
from p2pool.cli.task.reasons import reason_text, reasons_text
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.errors import MISREAD, misread, not_an_agent
from p2pool.client.requests import grant_for
from p2pool.model import limits
from p2pool.model.errors import Conflict, NotFound, P2poolError
from p2pool.model.ports.agent import LogOptions

if TYPE_CHECKING:
    from p2pool.model.access.grants import SignedGrant


@attrs.frozen
class _Piece:
    """Chunks of one copy's log, or a note on it; neither: one of its streams has ended. `last`: it
    is read no more, for it ended well or with an error."""

    replica: int
    chunks: list[Answer]
    error: P2poolError | None = None
    note: str = ""
    last: bool = False


@click.command("logs")
@click.argument("name", metavar="TASK[.REPLICA]")
@click.option("-f", "--follow", is_flag=True, help="Follow: write lines as they come.")
@click.option(
    "-n", "--tail", type=Number(0, limits.LOG_TAIL_MAX_LINES), help="Only the last lines."
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
    """Write the log of a task, or of one copy: TASK.0. With --json one object a line.

    With -f it goes on until the task has ended, wherever its copies are restarted or moved, and
    says on standard error what it waits for.
    """
    if signer.unsigned is not None:
        raise click.UsageError(
            "--unsigned is for requests: lines are read under a signature of now."
        )
    one, copies = _copies(signer.client, name, follow=follow)
    pool = signer.client.pool_ref()
    grant = grant_for(pool, one["task_id"])
    if signer.dry_run:
        signer.show_grant(pool, grant)
        return

    def sign() -> "SignedGrant":
        return signer.sign_grant(pool, grant_for(pool, one["task_id"]))

    signed = signer.sign_grant(pool, grant)
    options = LogOptions(
        follow=follow,
        tail_lines=-1 if tail is None else tail,
        since_ms=0 if since is None else time.time_ns() // 1_000_000 - since * 1000,
    )
    writer = _Writer(len(copies) > 1, timestamps, signer.as_json)
    _read_all(signer.client, copies, _Grants(sign, signed), options, writer)


class _Grants:
    """A grant that is valid for a while: signed anew where it would soon not be."""

    def __init__(self, sign: Callable[[], "SignedGrant"], signed: "SignedGrant") -> None:
        self._sign, self._signed, self._lock = sign, signed, threading.Lock()

    def __call__(self) -> "SignedGrant":
        with self._lock:
            if self._signed.grant.not_after_s - time.time() < limits.GRANT_LIFETIME_MAX_S / 2:
                self._signed = self._sign()
            return self._signed


def _copies(client: AgentClient, name: str, *, follow: bool) -> tuple[Answer, list[Answer]]:
    """The task, and the copies whose log to read."""
    one, replica = find_copy(client, name)
    if replica is not None:
        found = [copy for copy in one["allocations"] if copy["replica"] == replica]
        if not found:
            raise NotFound(
                f"{one['name']} has no copy {replica}.",
                hint=f"List its copies: p2pool task show {one['task_id']}.",
            )
        if not follow and not _has_log(found[0]):
            name, why = f"{one['name']}.{replica}", reason_text(found[0])
            raise _no_log(one, name, why, "does not run yet", "never ran")
        return one, found
    copies = [copy for copy in one["allocations"] if follow or _has_log(copy)]
    if not copies:
        name, why = f"No copy of {one['name']}", reasons_text(one)
        raise _no_log(one, name, why, "runs yet", "ever ran")
    if len(copies) > limits.CLIENT_LOG_COPIES_MAX:
        raise Conflict(
            f"{one['name']} has {len(copies)} copies; this command reads"
            f" {limits.CLIENT_LOG_COPIES_MAX} at most.",
            hint="Choose one: TASK.REPLICA.",
        )
    return one, copies


def _has_log(copy: Answer) -> bool:
    """Whether a copy may have written anything on the node where it is."""
    return copy["node_id"] is not None and copy["state"] not in PLACELESS


def _no_log(one: Answer, subject: str, why: str, yet: str, ever: str) -> NotFound:
    """Why there is nothing to read: what keeps a copy from its start."""
    over = one["state"] not in LIVING
    wait = "" if over else f" Wait for it: p2pool task logs -f {one['task_id']}."
    return NotFound(
        f"{subject} {ever if over else yet}: {why or 'nothing says why'}.",
        hint=f"See more: p2pool task show {one['task_id']}.{wait}",
    )


def _with_reason(copy: Answer, error: NotFound) -> NotFound:
    """The same, with what became of the copy: it may have failed before it could write."""
    why = reason_text(copy)
    if not why:
        return error
    name = f"{copy['task_name']}.{copy['replica']}"
    return NotFound(f"{error.message} {name} is {copy['state']}: {why}.", hint=error.hint)


def _read_all(
    client: AgentClient,
    copies: list[Answer],
    grants: Callable[[], "SignedGrant"],
    options: LogOptions,
    writer: "_Writer",
) -> None:
    """Write the lines of all copies; raises the first error after all have ended."""
    pieces: queue.Queue[_Piece] = queue.Queue(limits.CLIENT_LOG_QUEUE_MAX)
    for copy in copies:
        # Daemons: an interrupted command must not wait for its readers.
        threading.Thread(
            target=_read, args=(client, copy, grants, options, pieces), daemon=True
        ).start()
    left, failed = len(copies), None
    while left:
        piece = pieces.get()
        if piece.chunks:
            writer.write(piece.replica, piece.chunks)
        elif piece.note:
            click.echo(visible(f"{copies[0]['task_name']}.{piece.replica} {piece.note}"), err=True)
        else:
            writer.end(piece.replica)
        left -= piece.last
        failed = failed or piece.error
    if failed is not None:
        raise failed


def _read(
    client: AgentClient,
    copy: Answer,
    grants: Callable[[], "SignedGrant"],
    options: LogOptions,
    pieces: "queue.Queue[_Piece]",
) -> None:
    """Read one copy's log into the queue, then a last piece without chunks."""
    replica = copy["replica"]
    error: P2poolError | None = None

    def say(text: str) -> None:
        pieces.put(_Piece(replica, [], note=text))

    try:
        if options.follow:
            follower = Follower(
                client=client,
                task_id=copy["task_id"],
                copy_id=copy["id"],
                grants=grants,
                options=options,
                say=say,
            )
            batches = follower.chunks()
        else:
            batches = client.logs(copy["id"], grants(), options)
        for chunks in batches:
            pieces.put(_Piece(replica, chunks))
    except NotFound as failed:
        error = _with_reason(copy, failed)
    except P2poolError as failed:
        error = failed
    except MISREAD as failed:  # Unsaid, the reader of the queue would wait for ever.
        error = misread(failed) or not_an_agent(f"its log cannot be read ({failed!r})")
    pieces.put(_Piece(replica, [], error, last=True))


_COLOUR = re.compile(r"\x1b\[([0-9;]{0,64})m")
_CONCEAL, _COLOUR_MAX = 8, 107
_WIDE_COLOURS = {("38", "5"): 3, ("48", "5"): 3, ("38", "2"): 5, ("48", "2"): 5}


def terminal_text(line: bytes) -> str:
    """A line of a log for a terminal: colours pass, unless NO_COLOR is set; whatever else it would
    obey is shown as an escape. In a pipe a log is what the container wrote."""
    text = line.decode("utf-8", "backslashreplace").removesuffix("\r")
    plain_only, coloured = bool(os.environ.get("NO_COLOR")), False
    parts, at = [], 0
    for found in _COLOUR.finditer(text):
        if not _is_colour(found[1]):
            continue
        parts.append(visible(text[at : found.start()], keep="\t"))
        parts.append("" if plain_only else found[0])
        coloured, at = not plain_only, found.end()
    parts.append(visible(text[at:], keep="\t"))
    return "".join(parts) + ("\x1b[0m" if coloured else "")


def _is_colour(given: str) -> bool:
    """Whether parameters of SGR only colour or weigh text: hidden text is none."""
    left = given.split(";")
    while left:
        if skipped := _WIDE_COLOURS.get((left[0], left[1] if len(left) > 1 else "")):
            left = left[skipped:]
        elif len(left[0]) > 3 or int(left[0] or 0) in (_CONCEAL, *range(_COLOUR_MAX + 1, 1000)):
            return False
        else:
            left = left[1:]
    return True


class _Writer:
    """Writes chunks as whole lines, each with its copy and time where asked for. A line that is
    longer than what is kept comes in parts, which end without a line end."""

    def __init__(self, several: bool, timestamps: bool, as_json: bool) -> None:
        self._several, self._timestamps, self._json = several, timestamps, as_json
        self._partial: dict[tuple[int, str], bytes] = {}
        self._terminal = {"stdout": sys.stdout.isatty(), "stderr": sys.stderr.isatty()}
        self._stream = ""
        self._out: list[bytes] = []
        self._open: tuple[int, str] | None = None

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
            for line in lines:
                self._line(replica, stream, at_ms, line)
            if len(rest) >= limits.CLIENT_LOG_LINE_MAX_BYTES:
                rest = self._part(replica, stream, at_ms, rest)
            if rest:
                self._partial[place] = rest
        self._show()

    def end(self, replica: int) -> None:
        """Write the last lines of a copy, which lack a line end."""
        for stream in ("stdout", "stderr"):
            rest = self._partial.pop((replica, stream), b"")
            if rest or self._open == (replica, stream):
                self._line(replica, stream, 0, rest)
        self._show()

    def _part(self, replica: int, stream: str, at_ms: int, data: bytes) -> bytes:
        """Write what there is of a line without an end so far, up to the last whole character; what
        is left."""
        cut = len(data)
        while cut > len(data) - 4 and data[cut - 1] & 0xC0 == 0x80:
            cut -= 1
        cut -= data[cut - 1] >= 0xC0
        self._line(replica, stream, at_ms, data[:cut], whole=False)
        return data[cut:]

    def _line(
        self, replica: int, stream: str, at_ms: int, line: bytes, *, whole: bool = True
    ) -> None:
        if self._json:
            text = line.decode("utf-8", "backslashreplace")
            value = {"replica": replica, "stream": stream, "at_ms": at_ms, "text": text}
            if not whole:
                value["partial"] = True
            self._add("stdout", json_text(envelope("log-line", value)).encode() + b"\n")
            return
        place = (replica, stream)
        head = f"{replica} | " if self._several else ""
        if self._timestamps and at_ms:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms / 1000))
            head += f"{moment}.{at_ms % 1000:03d}Z "
        start = head.encode()
        if self._open is not None:  # A part of a line was written last.
            start = b"" if self._open == place else b"\n" + start
        self._open = None if whole else place
        if self._terminal[stream]:
            line = terminal_text(line).encode("utf-8", "backslashreplace")
        self._add(stream, start + line + (b"\n" if whole else b""))

    def _add(self, stream: str, line: bytes) -> None:
        # Both streams may lead to one terminal: show first what came first.
        if stream != self._stream:
            self._show()
            self._stream = stream
        self._out.append(line)

    def _show(self) -> None:
        if self._out:
            out = sys.stderr.buffer if self._stream == "stderr" else sys.stdout.buffer
            out.write(b"".join(self._out))
            out.flush()
            self._out = []
