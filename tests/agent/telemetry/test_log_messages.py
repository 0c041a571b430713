"""What a container writes comes in messages that can be written, whatever it writes."""

import pytest

from p2pool.agent.telemetry.log_streams import in_messages
from p2pool.codec.cbor.structs import encode_struct
from p2pool.model import limits
from p2pool.model.messages.task_streams import LogChunk, LogsRead

LINE = limits.LOG_LINE_MAX_BYTES
ENGINES_CUT = b"a" * (LINE - 1) + "\N{REPLACEMENT CHARACTER}".encode()
"""An engine's first part of 16,383 letters and a character of three bytes."""


@pytest.mark.parametrize(
    "data", [ENGINES_CUT, b"a" * LINE + b"\n", b"", b"\n", b"x" * 1_000_000, b"x" * LINE]
)
def test_a_long_line_is_cut_and_not_refused(data: bytes) -> None:
    """Every byte arrives, in its order, and hides no other line."""
    before, after = LogChunk(1, 1, b"before\n"), LogChunk(2, 3, b"after\n")
    batches = list(in_messages([before, LogChunk(1, 2, data), after]))
    for batch in batches:
        assert len(encode_struct(LogsRead(batch))) <= limits.STREAM_FRAME_MAX_BYTES
    chunks = [chunk for batch in batches for chunk in batch]
    assert (chunks[0], chunks[-1]) == (before, after)
    assert {(c.stream, c.at_ms) for c in chunks[1:-1]} == {(1, 2)}
    assert b"".join(c.data for c in chunks[1:-1]) == data


def test_many_lines_come_in_several_messages() -> None:
    """Neither too many chunks nor too many bytes in one."""
    many = [LogChunk(1, number, b"x" * 1_000) for number in range(3_000)]
    batches = list(in_messages(many))
    assert [chunk for batch in batches for chunk in batch] == many
    assert max(map(len, batches)) <= limits.LOG_BATCH_MAX_CHUNKS
    assert max(sum(len(c.data) for c in b) for b in batches) <= limits.LOG_BATCH_MAX_BYTES
