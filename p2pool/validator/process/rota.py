"""Who is challenged next: a pure function of who there is, who was asked when, and the time.

Intuition: the nodes of one provider take their turn together, so that one card cannot be shown
twice. One that is not validated, or failed, is asked as often as the policy counts; one that is
validated, every so often.

Invariants: no node is asked twice within `apart_ms`; a node that says when to ask again is left
alone until then, and no longer than a validated one would be; of several providers whoever waits
longest comes first.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import attrs

from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.findings import Finding, FindingKind

QUIET = frozenset({FindingKind.PASSED, FindingKind.OFFLINE, FindingKind.INCONCLUSIVE})
"""After which a validated node is asked as seldom as one that passes."""


@attrs.frozen
class Candidate:
    """A node to follow. `is_member`: of the pool; another one waits to be validated."""

    node_id: NodeId
    provider: Address
    is_member: bool
    is_validated: bool


@attrs.define
class Rota:
    """When each node was asked, and when it may be asked again. Times are of the wall clock."""

    apart_ms: int
    every_ms: int
    asked_ms: dict[NodeId, int] = attrs.field(factory=dict)
    not_before_ms: dict[NodeId, int] = attrs.field(factory=dict)
    suspect: set[NodeId] = attrs.field(factory=set)

    def told(self, finding: Finding, retry_at_ms: int = 0) -> None:
        """What came of asking a node; at the start, what an earlier run found."""
        node_id = finding.node_id
        self.asked_ms[node_id] = max(finding.at_ms, self.asked_ms.get(node_id, 0))
        if finding.kind in QUIET:
            self.suspect.discard(node_id)
        else:
            self.suspect.add(node_id)
        if retry_at_ms > finding.at_ms:
            self.not_before_ms[node_id] = min(retry_at_ms, finding.at_ms + self.every_ms)
        else:
            self.not_before_ms.pop(node_id, None)

    def asked(self, nodes: Collection[NodeId], now_ms: int) -> None:
        """They are being asked."""
        self.asked_ms.update(dict.fromkeys(nodes, now_ms))

    def forget_all_but(self, nodes: Collection[NodeId]) -> None:
        """Those that are gone."""
        kept = set(nodes)
        self.asked_ms = {one: at for one, at in self.asked_ms.items() if one in kept}
        self.not_before_ms = {one: at for one, at in self.not_before_ms.items() if one in kept}
        self.suspect &= kept

    def _set_back(self, now_ms: int) -> None:
        """What a clock that was ahead dated in the future is of now: once, so the wait ends."""
        ahead = [one for one, at_ms in self.asked_ms.items() if at_ms > now_ms]
        self.asked_ms.update(dict.fromkeys(ahead, now_ms))
        latest_ms = now_ms + self.every_ms
        late = [one for one, at_ms in self.not_before_ms.items() if at_ms > latest_ms]
        self.not_before_ms.update(dict.fromkeys(late, latest_ms))

    def due_ms(self, candidate: Candidate, now_ms: int) -> int:
        """When a node may be asked again; 0: it never was."""
        asked_ms = self.asked_ms.get(candidate.node_id)
        if asked_ms is None:
            return 0
        seldom = candidate.is_validated and candidate.node_id not in self.suspect
        wait_ms = max(self.apart_ms, self.every_ms) if seldom else self.apart_ms
        due_ms = min(asked_ms, now_ms) + wait_ms
        return max(due_ms, self.not_before_ms.get(candidate.node_id, 0))

    def due(
        self, candidates: Sequence[Candidate], now_ms: int, busy: Collection[Address] = ()
    ) -> list[list[Candidate]]:
        """The nodes to ask now, by provider; whoever waits longest comes first.

        A provider has its turn when one of its nodes is due. All of them go then that were not
        asked within `apart_ms`, and did not say to ask later.
        """
        self._set_back(now_ms)
        found: list[tuple[int, list[Candidate]]] = []
        for provider, nodes in _by_provider(candidates).items():
            first_ms = min(self.due_ms(one, now_ms) for one in nodes)
            if provider in busy or first_ms > now_ms:
                continue
            together = [one for one in nodes if self._may_be_asked(one, now_ms)]
            found.append((first_ms, together[: limits.CHALLENGE_NODES_MAX]))
        found.sort(key=lambda one: (one[0], one[1][0].node_id))
        return [nodes for _, nodes in found]

    def next_ms(self, candidates: Sequence[Candidate], now_ms: int) -> int | None:
        """When the next one is due; None: nobody ever."""
        return min((self.due_ms(one, now_ms) for one in candidates), default=None)

    def _may_be_asked(self, candidate: Candidate, now_ms: int) -> bool:
        asked_ms = min(self.asked_ms.get(candidate.node_id, -self.apart_ms), now_ms)
        later_ms = self.not_before_ms.get(candidate.node_id, 0)
        return now_ms >= asked_ms + self.apart_ms and now_ms >= later_ms


def _by_provider(candidates: Sequence[Candidate]) -> dict[Address, list[Candidate]]:
    found: dict[Address, list[Candidate]] = defaultdict(list)
    for one in candidates:
        found[one.provider].append(one)
    return found
