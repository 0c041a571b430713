"""What a node may do, in one word and a sentence, and why it may not do more.

Intuition: a node that starts doubts its disk; one whose pool was founded anew shows the log before;
one without a seat follows; one with a seat takes part. Three things end all of that until its
people act: a disk that refuses to write, another agent with the same keys, and a log that is ahead
of the program.

Invariants: exactly one status holds, the first of the list that applies; a silent node promises
nothing and sends nothing, but for the last words that `core.node` lets through.
"""

from enum import Enum

import attrs


class NodeStatus(Enum):
    """The statuses, worst first; each value says what the node does in it."""

    STORE_FAILED = "Its disk refuses to write, so it promises nothing, and says nothing any more."
    SUPERSEDED = "Another agent runs with its keys, so it says nothing any more."
    TOO_OLD = (
        "The pool's log is at a feature level that its program does not know, so it applies no "
        "more of it, and says nothing any more. What runs there goes on, for a newer program to "
        "take over."
    )
    CHECKING_STORE = (
        "It asks its peers whether its disk remembers all that its store has promised. Until they "
        "have answered it holds and shows its log, and neither votes, nor acknowledges, nor leads."
    )
    FORMER_EPOCH = (
        "The chain names a log that has not begun here. It shows the one before, and takes part in "
        "neither, until the first of the new one comes."
    )
    OBSERVER = "It has no seat in the committee: it takes committed entries from its peers."
    PARTICIPANT = "It has a seat in the committee, as a voter or as a learner."


SILENT = (NodeStatus.STORE_FAILED, NodeStatus.SUPERSEDED, NodeStatus.TOO_OLD)
"""Those in which a node says nothing until its people have acted."""


@attrs.frozen
class Status:
    """A node's status. `reason`: what was found, where somebody has to act on it."""

    value: NodeStatus
    reason: str | None = None

    @property
    def silent(self) -> bool:
        """Whether the node says nothing any more, until its people have acted."""
        return self.value in SILENT
