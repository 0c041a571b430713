"""Reads the line files of a shim while the shim writes them.

The reader takes only whole entries: whatever follows the last line feed is still being written, or
a crash cut it and it will be removed. A reader slower than the writer keeps its open file, and
continues with the oldest that is left.
"""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from p2pool.model import limits
from p2pool.model.messages.task_streams import LogChunk, LogStream


class LineReader:
    """A position in the lines of one run. Blocks for a short while: call it in a thread."""

    def __init__(self, directory: Path) -> None:
        """Starts before the first line."""
        self.directory = directory
        self.number = 0
        self.file: int | None = None
        self.offset = 0

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        file, self.file = self.file, None
        if file is not None:
            os.close(file)

    def seek_tail(self, tail_lines: int, since_ms: int) -> None:
        """Go to the last `tail_lines` lines that are not older than `since_ms`."""
        starts: deque[tuple[int, int]] = deque(maxlen=min(tail_lines, limits.LOG_TAIL_MAX_LINES))
        between = dict.fromkeys(LogStream, True)
        while entries := self._entries():
            for at, chunk in entries:
                stream = LogStream(chunk.stream)
                if between[stream] and chunk.at_ms >= since_ms:
                    starts.append((self.number, at))
                between[stream] = chunk.data.endswith(b"\n")
        if starts:
            number, at = starts[0]
            self.close()
            self._open(number)
            self.offset = at

    def read(self, since_ms: int) -> list[LogChunk] | None:
        """The next chunks, perhaps none of them recent enough; None: no more for now."""
        entries = self._entries()
        if not entries:
            return None
        return [chunk for _, chunk in entries if chunk.at_ms >= since_ms]

    def _open(self, number: int) -> bool:
        try:
            self.file = os.open(self.directory / f"{number:08}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.number, self.offset = number, 0
        return True

    def _next_number(self) -> int | None:
        try:
            numbers = [int(name) for name in os.listdir(self.directory)]
        except FileNotFoundError:
            return None
        return min((number for number in numbers if number > self.number), default=None)

    def _entries(self) -> list[tuple[int, LogChunk]]:
        """At most a batch of entries with their positions in the open file; empty at its end.

        Looks for a newer file first: if there is one, the older file is complete.
        """
        for _ in range(limits.CONTAINER_LOG_FILES_MAX + 1):
            newer = self._next_number()
            if self.file is not None:
                found = list(
                    self._parse(os.pread(self.file, limits.LOG_BATCH_MAX_BYTES, self.offset))
                )
                if found:
                    return found
            if newer is None:
                return []
            self.close()
            self._open(newer)
        return []

    def _parse(self, data: bytes) -> Iterator[tuple[int, LogChunk]]:
        at, base = 0, self.offset
        for _ in range(limits.LOG_BATCH_MAX_CHUNKS):
            end = data.find(b"\n", at)
            if end < 0:
                return
            at_ms, stream, flag, content = data[at:end].split(b" ", 3)
            chunk = LogChunk(int(stream), int(at_ms), content + b"\n" if flag == b"F" else content)
            place, at = base + at, end + 1
            self.offset = base + at
            yield place, chunk
