"""Who is missed, who is asked, and when a node may be called unreachable."""

from random import Random

from p2pool.core.leader.failure_detector import AskWitness, FailureDetector, Judged, Probe, Verdict
from p2pool.core.peers.watch import Watch
from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.model.messages.queries import ProbeAnswered
from p2pool.model.timing import Now

ME, A, B, C, D = (NodeId(bytes([n]) * 20) for n in range(1, 6))
P, Q = (Address(bytes([n]) * 20) for n in (8, 9))


class Judge:
    """A leader's judgement under a clock that the test moves."""

    def __init__(self, members: tuple[tuple[NodeId, Address], ...]) -> None:
        """Begin to lead at 0 with these connected members to ask."""
        self.failure_detector = FailureDetector(Random(1), 0)
        self.members, self.at_ms, self.requests = members, 0, 0

    def request(self) -> int:
        """The next number."""
        self.requests += 1
        return self.requests

    def answer(self, asked: AskWitness, *, reachable: bool, known: bool = True) -> None:
        """A witness answers what it was asked."""
        said = ProbeAnswered(asked.request, asked.node_id, reachable, known)
        self.failure_detector.take_answer(asked.witness, said)

    def after(self, ms: int) -> list[Judged]:
        """Let time pass, a probe's interval at a time, and gather what is to be done."""
        out: list[Judged] = []
        end_ms = self.at_ms + ms
        while self.at_ms <= end_ms:
            out += self.failure_detector.tick(
                self.members, self.request, Now(self.at_ms, self.at_ms)
            )
            self.at_ms += limits.PROBE_INTERVAL_MS
        return out


def test_alone_a_leader_needs_fifteen_seconds() -> None:
    """With nobody to ask, only probes that failed for long enough make a verdict."""
    judge = Judge(())
    judge.failure_detector.suspect(A, "lost", Now(0, 0))
    early = judge.after(limits.PROBE_ALONE_MS - limits.PROBE_INTERVAL_MS)
    assert not any(isinstance(j, Verdict) for j in early)
    assert [j.node_id for j in judge.after(4_000) if isinstance(j, Verdict)] == [A]
    assert judge.failure_detector.wakeup_ms() is None


def test_witnesses_of_different_providers_are_asked_first() -> None:
    """Two members of one provider are not both asked while there is another provider."""
    judge = Judge(((B, P), (C, P), (D, Q), (A, Q)))
    judge.failure_detector.suspect(A, "lost", Now(0, 0))
    asked = [j.witness for j in judge.after(0) if isinstance(j, AskWitness)]
    assert A not in asked
    assert D in asked[:2]
    assert len(asked) == 3


def suspected(members: tuple[tuple[NodeId, Address], ...]) -> tuple[Judge, list[AskWitness]]:
    """A leader that suspects A, and whom it asked."""
    judge = Judge(members)
    judge.failure_detector.suspect(A, "lost", Now(0, 0))
    return judge, [j for j in judge.after(0) if isinstance(j, AskWitness)]


def verdicts(judged: list[Judged]) -> list[NodeId]:
    return [j.node_id for j in judged if isinstance(j, Verdict)]


def test_witnesses_who_reach_it_clear_a_node() -> None:
    """Two of three: one that fails, and our own probe, outweigh one of them and not both."""
    judge, asked = suspected(((B, P), (C, P), (D, Q)))
    judge.answer(asked[0], reachable=False)
    judge.answer(asked[1], reachable=True)
    assert judge.failure_detector.suspicions
    judge.answer(asked[2], reachable=True)
    assert judge.after(30_000) == []


def test_the_only_witness_is_believed() -> None:
    """Where nobody contradicts it, half a connection of ours says less than its word."""
    judge, asked = suspected(((B, P),))
    judge.answer(asked[0], reachable=True)
    assert judge.after(30_000) == []


def test_one_false_witness_keeps_no_dead_node_alive() -> None:
    """Others fail as the leader does: its own word is awaited for a while, and then it is gone."""
    judge, asked = suspected(((B, P), (C, P), (D, Q)))
    judge.answer(asked[0], reachable=True)
    judge.answer(asked[1], reachable=False)
    judge.answer(asked[2], reachable=False)
    early_ms = limits.PROBE_ALONE_MS - limits.PROBE_INTERVAL_MS - judge.at_ms
    assert verdicts(judge.after(early_ms)) == []
    assert verdicts(judge.after(2 * limits.PROBE_INTERVAL_MS)) == [A]


def test_an_answer_counts_from_whom_it_was_asked_of() -> None:
    """A number that somebody else was given is worth nothing, and no answer counts twice."""
    judge, asked = suspected(((B, P), (C, P), (D, Q)))
    for one in asked:
        for by in (ME, A, *(o.witness for o in asked if o is not one)):
            said = ProbeAnswered(one.request, A, True, True)
            judge.failure_detector.take_answer(by, said)
    assert judge.failure_detector.suspicions
    judge.answer(asked[0], reachable=False)
    judge.answer(asked[0], reachable=True)
    judge.answer(asked[1], reachable=False)
    judge.answer(asked[2], reachable=False)
    assert verdicts(judge.after(0) + judge.after(0)) == [A]


def test_own_probe_and_all_answers_failed_is_a_verdict() -> None:
    """A witness that knows nothing of the node has no say, one that is silent only delays."""
    judge = Judge(((B, P), (C, P), (D, Q)))
    judge.failure_detector.suspect(A, "lost", Now(0, 0))
    first = judge.after(0)
    asked = [j for j in first if isinstance(j, AskWitness)]
    assert isinstance(first[-1], Probe)
    judge.answer(asked[0], reachable=False, known=False)
    judge.answer(asked[1], reachable=False)
    assert not any(isinstance(j, Verdict) for j in judge.after(0))
    verdicts = [j for j in judge.after(0) if isinstance(j, Verdict)]
    assert [v.node_id for v in verdicts] == [A]


def test_the_last_answer_settles_it_and_not_the_next_probe() -> None:
    """Our probe has as long as those of the witnesses; after that nothing is waited for."""
    judge = Judge(((B, P), (D, Q)))
    detector, members = judge.failure_detector, judge.members

    def tick(at_ms: int) -> list[Judged]:
        return detector.tick(members, judge.request, Now(at_ms, at_ms))

    detector.suspect(A, "lost", Now(0, 0))
    asked = [j for j in tick(0) if isinstance(j, AskWitness)]
    judge.answer(asked[0], reachable=False)
    late_ms = limits.PROBE_TIMEOUT_MS
    assert tick(late_ms - 1) == []
    assert [type(j) for j in tick(late_ms)] == [Probe]
    assert tick(late_ms + 20) == []
    judge.answer(asked[1], reachable=False)
    assert [type(j) for j in tick(late_ms + 21)] == [Verdict]


def test_nobody_is_judged_in_the_grace() -> None:
    """After a change of leader, or a lag of our own, hints are not taken."""
    judge = Judge(())
    judge.failure_detector.lagged(Now(0, 0))
    judge.failure_detector.suspect(A, "lost", Now(limits.JUDGEMENT_GRACE_MS - 1, 0))
    assert judge.failure_detector.suspicions == {}
    judge.failure_detector.suspect(A, "lost", Now(limits.JUDGEMENT_GRACE_MS, 0))
    assert list(judge.failure_detector.suspicions) == [A]


def test_a_sign_of_life_ends_a_suspicion() -> None:
    """Whatever was missed before."""
    judge = Judge(())
    judge.failure_detector.suspect(A, "lost", Now(0, 0))
    judge.after(8_000)
    judge.failure_detector.heard(A)
    assert judge.after(60_000) == []


def test_a_watch_hints_after_three_misses_once() -> None:
    """Two misses say nothing; hints are not repeated within the suspicion's time."""
    watch = Watch(ME)
    watch.choose((A, B), (A, B), Now(0, 0))
    watch.heard(B, Now(60_000, 0))
    hints = []
    for at_ms in range(2_000, 24_001, 2_000):
        for node_id in watch.due(Now(at_ms, 0)):
            _, hint = watch.step(node_id, at_ms, Now(at_ms, 0))
            if hint:
                hints.append((node_id, at_ms))
    assert hints == [(A, 8_000), (A, 18_000)]


def test_a_lost_connection_hints_unless_it_comes_back() -> None:
    """The hint waits a moment for it to be dialled again; what it costs if it was is one probe."""
    watch = Watch(ME)
    watch.choose((A,), (A,), Now(0, 0))
    watch.lost(A, Now(100, 0))
    hint_ms = 100 + limits.LOST_HINT_MS
    assert watch.due(Now(hint_ms - 1, 0)) == ()
    assert watch.due(Now(hint_ms, 0)) == (A,)
    assert watch.step(A, 1, Now(hint_ms, 0))[1] == "its connection was lost"
    watch.lost(A, Now(3_000, 0))
    watch.connected(A)
    watch.heard(A, Now(3_100, 0))
    assert watch.step(A, 2, Now(5_100, 0)) == (True, None)


def test_only_the_next_few_of_the_ring_are_watched() -> None:
    """What watching costs does not grow with the pool."""
    watch = Watch(C)
    nodes = tuple(NodeId(bytes([n]) * 20) for n in range(1, 60) if n != 4)
    watch.choose(nodes, nodes, Now(0, 0))
    assert len(watch.watched) == limits.WATCHED_MAX
    assert next(iter(watch.watched)) == D
