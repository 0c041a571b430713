"""The nodes that fit a copy of one task, best first.

Order: the node that refused the task least often, the provider with the fewest copies of it, its
node with the fewest, the tightest fit, the node's name. Between providers with equally many copies,
the best node decides.

Invariants: every node in line fits a copy; a node changes only when a copy takes room on it, so one
heap of providers over one heap of nodes each is exact, and a copy costs the logarithm of the nodes.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from p2pool.core.scheduler.capacity import Demand, NodeCapacity
from p2pool.model.ids import Address, NodeId

Rank = tuple[int, int, tuple[int, int, NodeId]]
"""How often the node refused the task, copies of the task on it, and how tight the fit is."""


class NodeRanking:
    """Picks the node for each next copy of one task."""

    def __init__(self, rooms: Iterable[NodeCapacity], need: Demand) -> None:
        """Line up the rooms that do not refuse."""
        self._need = need
        self._rooms: dict[NodeId, NodeCapacity] = {}
        self._nodes: dict[Address, list[Rank]] = {}
        copies: dict[Address, int] = {}
        for room in rooms:
            provider = room.offer.provider
            copies[provider] = copies.get(provider, 0) + room.of_task.get(need.task_id, 0)
            if room.refusal(need) is None:
                self._rooms[room.offer.node_id] = room
                self._nodes.setdefault(provider, []).append(self._rank(room))
        for ranks in self._nodes.values():
            heapify(ranks)
        self._providers = [
            (ranks[0][0], copies[p], ranks[0], p) for p, ranks in self._nodes.items()
        ]
        heapify(self._providers)

    def take(self) -> tuple[NodeCapacity, tuple[str, ...]] | None:
        """Take room for one more copy: the node and its GPUs; None if no node fits."""
        if not self._providers:
            return None
        _, copies, (_, _, (_, _, node_id)), provider = heappop(self._providers)
        ranks, room = self._nodes[provider], self._rooms[node_id]
        heappop(ranks)
        gpus = room.take(self._need)
        if room.refusal(self._need) is None:
            heappush(ranks, self._rank(room))
        if ranks:
            heappush(self._providers, (ranks[0][0], copies + 1, ranks[0], provider))
        return room, gpus

    def _rank(self, room: NodeCapacity) -> Rank:
        refused = self._need.refused.get(room.offer.node_id, 0)
        return refused, room.of_task.get(self._need.task_id, 0), room.tightness(self._need)
