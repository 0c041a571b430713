"""Which of two runs of an agent is the later one, where a clock was ahead.

Intuition: an incarnation is the time at which an agent began, or one more than the last that its
disk knows, so the larger one is the later run. A run that began while its clock was ahead names a
time that has not come; if its disk is wiped after that, its next run names a smaller one. It is the
later one all the same: it speaks after the other fell silent.

Invariants: only an incarnation ahead of the time ever gives way to a smaller one; while both speak,
the larger one counts, as for two agents with one key. Source: docs/design/protocol.md, "The way
in".
"""

from p2pool.model import limits
from p2pool.model.messages.registry import Header


def began_ahead(incarnation: int, now_ms: int) -> bool:
    """Whether an agent began at a time that has not come yet: its clock was ahead."""
    return incarnation > now_ms + limits.CLOCK_SKEW_MAX_MS


def is_later_run(header: Header, incarnation: int, heard_ms: int, now_ms: int) -> bool:
    """Whether a message is of a later run than one that began ahead of the time, and was last heard
    at `heard_ms`."""
    if not began_ahead(incarnation, now_ms) or began_ahead(header.incarnation, now_ms):
        return False
    now_said = abs(header.sent_at_ms - now_ms) <= limits.CLOCK_SKEW_MAX_MS
    return now_said and header.sent_at_ms > heard_ms + limits.CLONE_MARGIN_MS
