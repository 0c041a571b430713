"""How a committee grows, stays odd, and replaces those who are gone."""

from p2pool.core.leader.reconfiguration import Aims, Candidate, Seat, next_change
from p2pool.model.ids import Address, NodeId, PeerKey, StoreId
from p2pool.model.log.configuration_steps import step_refusal
from p2pool.model.log.raft import Configuration, Voter

V = [
    Voter(NodeId(bytes([n]) * 20), PeerKey(bytes([n]) * 32), StoreId(bytes([n]) * 16))
    for n in range(6)
]
P, Q = Address(b"p" * 20), Address(b"q" * 20)
READY, SILENT, OUT = Seat(caught_up=True), Seat(silent=True), Seat(out=True)


def configuration(voters: str, learners: str = "") -> Configuration:
    """A configuration from digits."""
    return Configuration(tuple(V[int(n)] for n in voters), tuple(V[int(n)] for n in learners))


def change(
    voters: str,
    learners: str = "",
    free: str = "",
    size: int = 3,
    leaving: bool = False,
    lone: bool = False,
    **seats: Seat,
) -> tuple[str, str] | None:
    """The next change as digits, led by 0; all of one provider."""
    now_is = configuration(voters, learners)
    given = {V[int(name[1:])]: seat for name, seat in seats.items()}
    candidates = [Candidate(V[int(n)], P) for n in free]
    new = next_change(now_is, V[0], given, candidates, Aims(size, leaving, lone), {})
    if new is None:
        return None
    return (
        "".join(str(V.index(v)) for v in new.voters),
        "".join(str(V.index(v)) for v in new.learners),
    )


def test_a_pool_of_three_grows_through_learners() -> None:
    """Two learners, then two promotions: never two voters for longer than a step."""
    assert change("0", free="12") == ("0", "1")
    assert change("0", "1", free="2", s1=READY) == ("0", "12")
    assert change("0", "12", s1=READY) is None
    assert change("0", "12", s1=READY, s2=READY) == ("01", "2")
    assert change("01", "2", s1=READY, s2=READY) == ("012", "")
    assert change("012", free="34") is None


def test_two_nodes_keep_one_voter() -> None:
    """A second voter would only be one more to lose."""
    assert change("0", "1", s1=READY) is None


def test_a_silent_voter_is_replaced_where_somebody_can() -> None:
    """Removed first, so that two of two go on, then another takes its place."""
    assert change("012", s2=SILENT) is None
    assert change("012", free="3", s2=SILENT) == ("01", "")
    assert change("01", free="3") == ("01", "3")
    assert change("01", "3", s3=READY) == ("013", "")


def test_nothing_is_removed_that_would_cost_the_quorum() -> None:
    """With two of three silent, a removal could not commit and would not help."""
    assert change("012", free="3", s1=SILENT, s2=SILENT) is None


def test_who_is_finally_out_goes_without_a_replacement() -> None:
    """A voter that left the pool serves until its removal commits, and no longer."""
    assert change("012", s1=OUT) == ("02", "")
    assert change("0", "1", s1=OUT) == ("0", "")


def test_a_silent_learner_makes_room() -> None:
    """It never counted."""
    assert change("012", "3", s3=SILENT) == ("012", "")


def test_a_smaller_size_sheds_voters_but_not_the_leader() -> None:
    """The setting of the committee's size may shrink."""
    assert change("01234", size=3) == ("0123", "")
    assert change("012", size=1) == ("01", "")


def test_a_smaller_size_lets_learners_go() -> None:
    """They would fetch the log for ever, and count nowhere."""
    assert change("012", "3", s1=READY, s2=READY, s3=READY) == ("012", "")
    assert change("012", "34", s3=READY) == ("012", "4")


def test_another_provider_comes_first() -> None:
    """No provider holds a quorum where there is a choice."""
    candidates = [Candidate(V[1], P), Candidate(V[2], Q)]
    new = next_change(configuration("0"), V[0], {}, candidates, Aims(3), {V[0].node_id: P})
    assert new is not None
    assert new.learners == (V[2],)


def balanced(voters: str, learners: str, free: str, at: dict[str, Address]) -> tuple[str, str]:
    """Where a committee of three of these providers comes to, with every learner caught up."""
    providers = {V[int(n)].node_id: provider for n, provider in at.items()}
    now_is = configuration(voters, learners)
    for _ in range(20):
        candidates = [Candidate(V[int(n)], at[n]) for n in free]
        seats = dict.fromkeys(V, READY)
        new = next_change(now_is, V[0], seats, candidates, Aims(3), providers)
        if new is None:
            return (
                "".join(str(V.index(v)) for v in now_is.voters),
                "".join(str(V.index(v)) for v in now_is.learners),
            )
        assert len(set(new.voters) ^ set(now_is.voters)) <= 1
        assert 2 <= len(new.voters) <= 4
        now_is = new
    raise AssertionError("the committee never comes to rest")


def test_a_provider_gives_up_its_quorum_where_others_could_serve() -> None:
    """Member by member, through learners, and never the leader's seat; then it rests."""
    r = Address(b"r" * 20)
    assert balanced("012", "", "34", {"0": P, "1": P, "2": P, "3": Q, "4": r}) == ("034", "")
    assert balanced("012", "", "345", {"0": P, "1": Q, "2": Q, "3": Q, "4": Q, "5": r}) == (
        "015",
        "",
    )


def test_two_providers_have_no_such_choice() -> None:
    """One of them holds two of three seats whatever is done: nothing moves for ever."""
    assert balanced("012", "", "345", {"0": P, "1": P, "2": Q, "3": Q, "4": P, "5": Q}) == (
        "012",
        "",
    )
    assert balanced("012", "", "34", {"0": P, "1": P, "2": P, "3": Q, "4": Q}) == ("013", "")


def test_no_more_learners_than_there_is_room_for() -> None:
    """A committee of seven grows three learners at a time."""
    assert change("0", "123", free="45", size=7) is None
    assert change("0", "123", free="45", size=7, s1=READY, s2=READY) == ("01", "23")


def test_a_node_with_another_disk_gives_up_its_old_seat() -> None:
    """The voter that it was is gone for good: removed at once, then the node may learn anew."""
    renewed = Voter(V[2].node_id, V[2].peer_key, StoreId(b"n" * 16))
    given = {V[1]: READY, V[2]: Seat()}
    shown = [Candidate(V[1], P), Candidate(renewed, P)]
    new = next_change(configuration("012"), V[0], given, shown, Aims(3), {})
    assert new == configuration("01")
    new = next_change(configuration("01"), V[0], {V[1]: READY}, shown, Aims(3), {})
    assert new is not None
    assert new.learners == (renewed,)


# --- with joint configurations --------------------------------------------------------------------


def joint(
    voters: str,
    learners: str = "",
    free: str = "",
    size: int = 3,
    impatient: bool = False,
    **seats: Seat,
) -> tuple[str, str, bool] | None:
    """The next change as digits, and whether it is joint; led by 0."""
    now_is = configuration(voters, learners)
    given = {V[int(name[1:])]: seat for name, seat in seats.items()}
    candidates = [Candidate(V[int(n)], P) for n in free]
    aims = Aims(size, joint=True, impatient=impatient)
    new = next_change(now_is, V[0], given, candidates, aims, {})
    if new is None:
        return None
    assert step_refusal(now_is, new) is None
    digits = ["".join(str(V.index(v)) for v in group) for group in (new.voters, new.learners)]
    return digits[0], digits[1], new.is_joint


def test_one_voter_becomes_three_at_once() -> None:
    """Two of two is left out; with one learner ready it waits for the other."""
    assert joint("0", "12", s1=READY) is None
    assert joint("0", "12", s1=READY, s2=READY) == ("012", "", True)
    assert joint("0", "12", size=5, s1=READY, s2=READY) == ("012", "", True)


def test_a_dead_voter_keeps_its_seat_until_a_learner_can_take_it() -> None:
    """Three never become two while a spare is there."""
    assert joint("012", free="34", s2=SILENT) == ("012", "3", False)
    assert joint("012", "3", s2=SILENT) is None
    assert joint("012", "3", s2=SILENT, s3=READY) == ("013", "", True)
    assert joint("012", s2=SILENT) is None


def test_a_silent_learner_makes_room_for_the_next() -> None:
    """It is dropped before anything else is done."""
    assert joint("012", "3", free="4", s2=SILENT, s3=SILENT) == ("012", "", False)


def test_who_has_to_go_waits_for_a_replacement_but_not_for_ever() -> None:
    """Where nobody is there, or nobody in time, it goes without one."""
    assert joint("012", free="3", s2=OUT) == ("012", "3", False)
    assert joint("012", "3", s2=OUT) is None
    assert joint("012", "3", s2=OUT, impatient=True) == ("01", "3", False)
    assert joint("012", s2=OUT) == ("01", "", False)
    assert joint("012", "3", s2=OUT, s3=READY) == ("013", "", True)


def test_two_dead_of_five_go_together() -> None:
    """Replaced at once, as far as learners are ready; without any, three live that survive one."""
    replaced = joint("01234", "5", size=5, s3=SILENT, s4=SILENT, s5=READY)
    assert replaced == ("01245", "", True)
    for size in (3, 5):
        assert joint("01234", size=size, s3=SILENT, s4=SILENT) == ("012", "", True)


def test_a_committee_of_three_goes_on_with_two_where_nobody_is_left() -> None:
    """Then by one again; a pair that lost its other voter has nobody to ask."""
    assert joint("01", s1=OUT) == ("0", "", False)
    assert joint("0123", s3=SILENT) == ("012", "", False)


def test_a_smaller_size_is_reached_two_at_a_time() -> None:
    """Five become three without passing through four."""
    assert joint("01234", size=3) == ("012", "", True)
