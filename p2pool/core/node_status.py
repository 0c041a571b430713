"""What a node may do, in one word and a sentence, and why it may not do more.

Intuition: a node that starts doubts its disk; one whose pool was founded anew shows the last log;
one without a seat follows; one with a seat takes part. Three things end all of that until people
act: a disk that refuses to write, another agent with the same keys, and a log that is ahead of the
program.

Invariants: exactly one status holds, the first in the list that applies; a silent node promises and
sends nothing, except the last words that `core.node` lets through.
"""

from enum import Enum

import attrs


class NodeStatus(Enum):
    """The statuses, worst first; each value says what the node does in it."""

    STORE_FAILED = "Its disk refuses to write, so it promises nothing and falls silent."
    SUPERSEDED = "Another agent runs with its keys, so it falls silent."
    TOO_OLD = (
        "The pool's log is at a feature level that its program does not know, so it applies no "
        "more of it and falls silent. Its containers run on, for a newer program to take over."
    )
    CHECKING_STORE = (
        "It asks its peers whether its disk remembers all that its store has promised. Until they "
        "answer, it holds and shows its log, and neither votes, nor acknowledges, nor leads."
    )
    FORMER_EPOCH = (
        "The chain names a log that has not begun here. It shows the last one, and takes part in "
        "neither, until the new one's first entries arrive."
    )
    OBSERVER = "It has no seat in the committee: it fetches committed entries from its peers."
    PARTICIPANT = "It has a seat in the committee, as a voter or as a learner."


SILENT = (NodeStatus.STORE_FAILED, NodeStatus.SUPERSEDED, NodeStatus.TOO_OLD)
"""Those in which a node is silent until people act."""


@attrs.frozen
class Status:
    """A node's status. `reason`: what people have to act on, if anything."""

    value: NodeStatus
    reason: str | None = None

    @property
    def silent(self) -> bool:
        """Whether the node is silent until people act."""
        return self.value in SILENT
