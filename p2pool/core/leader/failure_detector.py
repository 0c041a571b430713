"""The leader's failure detector: from a hint, through its own probe and witnesses, to a verdict.

Intuition: a hint proves nothing. The leader probes the node itself and asks up to three witnesses
of different providers; the node is unreachable at once only if the leader's probe and those of all
witnesses that answered failed. Without witnesses, the leader's own probes must fail for 15 s. So
neither one observer with half a connection nor two that conspire can declare a death.

A witness that reaches the node clears it, unless more others fail (our own probe counts as one of
them): then one of both sides errs or lies, and only the node's own word, which its heartbeats bring
too, clears it within those 15 s. So no single witness keeps the copies of a dead node from being
replaced.

A node that is still connected may be alive and slow, so it gets three probes in a row, as from its
neighbours, and witnesses take their time too; for a node whose connection is gone the first failed
probe decides.

Invariants: a witness's answer counts under the number of the question that it was asked; any sign
of life ends a suspicion; every suspicion ends by itself; the leader judges nobody for a while after
it takes over or its own loop lagged. Hints cost little: the leader accepts a bounded number from
one peer, and one about a node, in a while.
Source: docs/design/health.md, "Detecting failure"; Lifeguard (local health).
"""

from collections.abc import Callable, Sequence
from random import Random

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Address, NodeId
from p2pool.model.messages.queries import ProbeAnswered
from p2pool.model.timing import Now


@attrs.frozen
class Probe:
    """Probe this node, under this number."""

    request: int
    node_id: NodeId


@attrs.frozen
class AskWitness:
    """Ask this member to probe that node."""

    request: int
    witness: NodeId
    node_id: NodeId


@attrs.frozen
class Verdict:
    """A node is unreachable, and why."""

    node_id: NodeId
    reason: str


Judged = Probe | AskWitness | Verdict


@attrs.define
class Suspicion:
    """A node under suspicion: our own probes, and the witnesses' answers (None: not yet), each
    under its witness and the number of our question."""

    since_ms: int
    hint: str
    probe_due_ms: int
    request: int = 0
    failed: int = 0
    witnesses: dict[tuple[NodeId, int], bool | None] = attrs.field(factory=dict)


@attrs.define
class FailureDetector:
    """A leader's suspicions; each leader starts with a new detector."""

    rng: Random
    not_before_ms: int
    suspicions: dict[NodeId, Suspicion] = attrs.field(factory=dict)
    told_ms: BoundedDict[NodeId, int] = attrs.field(factory=lambda: BoundedDict(limits.MEMBERS_MAX))
    hints: BoundedDict[NodeId, tuple[int, int]] = attrs.field(
        factory=lambda: BoundedDict(limits.MEMBERS_MAX)
    )

    def may_report(self, by: NodeId, of: NodeId, now: Now) -> bool:
        """Whether to accept a peer's hint: not too many by one peer, nor of one node."""
        began_ms, count = self.hints.get(by, (now.mono_ms, 0))
        if now.mono_ms - began_ms >= limits.SUSPICION_MS:
            began_ms, count = now.mono_ms, 0
        self.hints.renew(by, (began_ms, count + 1))
        last_ms = self.told_ms.get(of)
        soon = last_ms is not None and now.mono_ms - last_ms < limits.HINT_PAUSE_MS
        if count >= limits.HINTS_PER_PEER_MAX or soon:
            return False
        self.told_ms.renew(of, now.mono_ms)
        return True

    def suspected(self) -> dict[NodeId, str]:
        """Who is under suspicion, and why."""
        return {node_id: s.hint for node_id, s in self.suspicions.items()}

    def judges(self, now: Now) -> bool:
        """Whether the leader may judge anybody now."""
        return now.mono_ms >= self.not_before_ms

    def lagged(self, now: Now) -> None:
        """Our own loop was late, so the silence may be ours: drop all suspicions."""
        self.suspicions.clear()
        self.not_before_ms = max(self.not_before_ms, now.mono_ms + limits.JUDGEMENT_GRACE_MS)

    def suspect(self, node_id: NodeId, reason: str, now: Now) -> None:
        """A peer, or this node itself, misses a node."""
        if not self.judges(now) or node_id in self.suspicions:
            return
        if len(self.suspicions) < limits.SUSPICIONS_MAX:
            # A peer may have written it: what becomes of it has to fit into an entry.
            hint = clipped(reason, limits.REFUSAL_TEXT_MAX_BYTES)
            self.suspicions[node_id] = Suspicion(now.mono_ms, hint, now.mono_ms)

    def heard(self, node_id: NodeId) -> None:
        """A sign of life."""
        self.suspicions.pop(node_id, None)

    def take_answer(self, witness: NodeId, answer: ProbeAnswered) -> None:
        """A witness answered what it was asked; one that does not know the node does not count."""
        suspicion = self.suspicions.get(answer.node_id)
        asked = (witness, answer.request)
        if suspicion is None or suspicion.witnesses.get(asked, False) is not None:
            return
        if not answer.known:
            del suspicion.witnesses[asked]
            return
        suspicion.witnesses[asked] = answer.reachable
        if _cleared(suspicion, waits=True):
            self.heard(answer.node_id)

    def tick(
        self,
        members: Sequence[tuple[NodeId, Address]],
        take_request: Callable[[], int],
        now: Now,
    ) -> list[Judged]:
        """Probes to send, witnesses to ask and verdicts. `members`: connected ones to pick from,
        with their providers."""
        connected = dict.fromkeys(node_id for node_id, _ in members)
        out: list[Judged] = []
        for node_id, suspicion in tuple(self.suspicions.items()):
            due = now.mono_ms >= suspicion.probe_due_ms
            suspicion.failed += due and suspicion.request != 0
            needed = limits.PROBE_MISSES if node_id in connected else 1
            if _cleared(suspicion, waits=suspicion.failed <= needed):
                del self.suspicions[node_id]
                continue
            if suspicion.failed and (reason := _verdict(suspicion, needed, now)) is not None:
                del self.suspicions[node_id]
                out.append(Verdict(node_id, reason))
                continue
            if not due:
                continue
            wait_ms = limits.PROBE_INTERVAL_MS
            if not suspicion.request:
                # Our first probe and the witnesses' have the same deadline: the last answer
                # settles it.
                out += self._begin(node_id, suspicion, members, take_request)
                wait_ms = limits.PROBE_TIMEOUT_MS
            suspicion.request = take_request()
            out.append(Probe(suspicion.request, node_id))
            suspicion.probe_due_ms = now.mono_ms + wait_ms
        return out

    def _begin(
        self,
        node_id: NodeId,
        suspicion: Suspicion,
        members: Sequence[tuple[NodeId, Address]],
        take_request: Callable[[], int],
    ) -> list[Judged]:
        """Pick witnesses at random, of different providers as far as possible."""
        pool = [m for m in members if m[0] != node_id]
        self.rng.shuffle(pool)
        by_provider = {provider: witness for witness, provider in pool}
        others = tuple(by_provider.values())
        rest = tuple(witness for witness, _ in pool if witness not in others)
        out: list[Judged] = []
        for witness in (others + rest)[: limits.WITNESSES_MAX]:
            request = take_request()
            suspicion.witnesses[witness, request] = None
            out.append(AskWitness(request, witness, node_id))
        return out

    def wakeup_ms(self) -> int | None:
        """When something is due next."""
        return min((s.probe_due_ms for s in self.suspicions.values()), default=None)


def _cleared(suspicion: Suspicion, *, waits: bool) -> bool:
    """Whether the witnesses that reach the node outweigh those that do not and our own probe.
    `waits`: those that have not answered may yet fail."""
    answers = list(suspicion.witnesses.values())
    reached = sum(answer is True for answer in answers)
    against = 1 + sum(answer is False for answer in answers)
    if waits:
        against += sum(answer is None for answer in answers)
    return reached >= against


def _verdict(suspicion: Suspicion, needed: int, now: Now) -> str | None:
    """Why a node is unreachable, once that is certain; None before. `needed`: how many probes of
    ours have to fail; more if our connection to it is up, because then it may just be slow."""
    answers = list(suspicion.witnesses.values())
    agreed = sum(answer is False for answer in answers)
    waiting = sum(answer is None for answer in answers)
    # A witness has one probe's time more than we to answer; its silence is not agreement.
    reached = len(answers) - agreed - waiting
    if (
        agreed
        and not reached
        and suspicion.failed >= needed
        and (not waiting or suspicion.failed > needed)
    ):
        return f"{suspicion.hint}; the leader's probe and {agreed} of others failed"
    if now.mono_ms - suspicion.since_ms >= limits.PROBE_ALONE_MS:
        return f"{suspicion.hint}; the leader's probes failed for {limits.PROBE_ALONE_MS // 1000} s"
    return None
