"""Files of timestamped lines and of whole records; standard library only, since the shim uses it.

An entry is `<unix ms> <stream> <F|P> <bytes>` and a line feed. F: the line ends here. P: it goes on
in its stream's next entry, or its stream ended without a line feed. Files are numbered and never
renamed, so a reader keeps its place; the oldest go when there are too many.
"""

import json
import os
import time
from pathlib import Path

STREAMS = (1, 2)


class LineFiles:
    """Writes such files. An entry that a full disk cuts off is removed, and lost."""

    def __init__(self, directory: Path, file_max: int, files_max: int, line_max: int) -> None:
        """Continue after the output of an earlier run."""
        self.directory, self.file_max, self.files_max = directory, file_max, files_max
        self.line_max = line_max
        self.rest = dict.fromkeys(STREAMS, b"")
        self.number = max((int(path.name) for path in directory.iterdir()), default=1)
        self.file, self.size = self._open(self.number)

    def _open(self, number: int) -> tuple[int, int]:
        path = self.directory / f"{number:08}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(file, size)
        return file, size

    def take(self, stream: int, data: bytes) -> None:
        """Write all whole lines, keep the rest."""
        *lines, rest = (self.rest[stream] + data).split(b"\n")
        now_ms = time.time_ns() // 1_000_000
        entries = []
        for line in lines:
            *parts, last = self._parts(line)
            entries += [b"%d %d P %b\n" % (now_ms, stream, part) for part in parts]
            entries.append(b"%d %d F %b\n" % (now_ms, stream, last))
        if len(rest) > self.line_max:
            *parts, rest = self._parts(rest)
            entries += [b"%d %d P %b\n" % (now_ms, stream, part) for part in parts]
        self.rest[stream] = rest
        for entry in entries:
            self._write(entry)

    def finish(self, stream: int) -> None:
        """Write the rest that had no line feed."""
        rest, self.rest[stream] = self.rest[stream], b""
        if rest:
            self._write(b"%d %d P %b\n" % (time.time_ns() // 1_000_000, stream, rest))

    def _parts(self, line: bytes) -> list[bytes]:
        most = self.line_max
        return [line[at : at + most] for at in range(0, len(line), most)] or [b""]

    def _write(self, entry: bytes) -> None:
        try:
            if self.size and self.size + len(entry) > self.file_max:
                opened = self._open(self.number + 1)
                os.close(self.file)
                (self.file, self.size), self.number = opened, self.number + 1
                (self.directory / f"{self.number - self.files_max:08}").unlink(missing_ok=True)
            written = os.write(self.file, entry)
        except OSError:
            written = 0
        if written == len(entry):
            self.size += written
        else:
            os.ftruncate(self.file, self.size)


def write_whole(path: Path, value: object) -> None:
    """Replace a file by JSON, whole or not at all, even if the machine stops."""
    aside = path.with_name(f".{path.name}.new")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, json.dumps(value).encode())
        os.fsync(file)
    finally:
        os.close(file)
    aside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a directory's names durable."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
