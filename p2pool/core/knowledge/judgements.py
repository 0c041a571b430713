"""Since when the log judges a node unreachable or dead, on this node's clock.

Intuition: a heartbeat counts against such a judgement only if it came after this node applied it.

Invariants: a node judged so repeatedly keeps its first time; one that is back has none.
"""

from collections.abc import Iterable

import attrs

from p2pool.model.ids import NodeId
from p2pool.model.timing import Now


@attrs.define
class Judgements:
    """The nodes that the log judges gone. `since_ms`: when this node applied that, monotonic."""

    since_ms: dict[NodeId, int] = attrs.field(factory=dict)

    def note(self, gone: Iterable[NodeId], now: Now) -> None:
        """Note all the nodes that the applied log judges gone now."""
        self.since_ms = {node_id: self.since_ms.get(node_id, now.mono_ms) for node_id in gone}
