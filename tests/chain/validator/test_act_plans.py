"""Plans of a validator's acts, from facts alone: what is missing, and nothing from the unknown."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.provider.plan import Plan
from p2pool.drivers.chain.validator.act_plans import (
    Penalty,
    blacklist_plan,
    invalidate_plan,
    slash_plan,
    validate_plan,
    whitelist_plan,
)
from p2pool.drivers.chain.validator.roles import Roles
from p2pool.drivers.chain.validator.slashes import Slash, Slashes
from p2pool.drivers.chain.validator.work import (
    Invalidation,
    PastWork,
    Piece,
    PieceState,
    PoolWork,
    Submission,
    invalidate_work_plan,
    submit_plan,
)
from p2pool.model.errors import ChainUnavailable, Conflict, Malformed, NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId
from tests.chain.plans.facts import (
    AT,
    ME,
    NO,
    NODE,
    OTHER,
    UNKNOWN,
    YES,
    info,
    node,
    pool,
    provider,
    stranger,
)

JUDGE = Roles(Address(b"j" * 20), YES, NO)
BOSS = Roles(Address(b"b" * 20), NO, YES)
NOBODY = Roles(Address(b"x" * 20), NO, NO)
UNREAD = Roles(Address(b"u" * 20), UNKNOWN, UNKNOWN)
NONE_YET: Reading[Slashes] = Reading.of(Slashes(5, ()))
PENALTY = Penalty(ME, 3, b"why")
KEY = b"k" * 32


def names(plan: Plan) -> list[str]:
    """The steps of a plan."""
    return [one.name for one in plan.steps]


def work(**changes: Any) -> PoolWork:
    """A judged pool with one piece of 10 units of the node."""
    piece = Piece(key=KEY, provider=ME, node_id=NODE, units=10, block=9, state=PieceState.SUBMITTED)
    told: dict[str, Any] = {
        "pool_id": 7,
        "judge": Reading.of(Address(b"w" * 20)),
        "past": Reading.of(PastWork(5, {KEY: attrs.evolve(piece, **changes)})),
    }
    return PoolWork(**told)


def all_plans(roles: Roles) -> dict[str, Any]:
    """Each act, by this account, with something to do."""
    member, known = node(info(validated=True)), {ME: provider()}
    return {
        "whitelist": lambda: whitelist_plan(AT, roles, [provider(whitelisted=NO)]),
        "blacklist": lambda: blacklist_plan(AT, roles, [provider()]),
        "validate": lambda: validate_plan(AT, roles, [node(info(validated=False))], known),
        "invalidate": lambda: invalidate_plan(AT, roles, [member]),
        "slash": lambda: slash_plan(AT, roles, provider(), PENALTY, NONE_YET),
        "work": lambda: invalidate_work_plan(AT, roles, work(), [KEY], Invalidation()),
    }


@pytest.mark.parametrize("act", all_plans(JUDGE))
def test_who_may_is_judged_first(act: str) -> None:
    """A validator has a step, nobody else has; what nobody could read is an outage."""
    assert len(all_plans(JUDGE)[act]().ready) == 1
    for roles, error in ((NOBODY, NotAllowed), (UNREAD, ChainUnavailable)):
        with pytest.raises(error):
            all_plans(roles)[act]()
    if act in ("whitelist", "blacklist"):
        assert all_plans(BOSS)[act]().ready
    else:
        with pytest.raises(NotAllowed, match="VALIDATOR_ROLE"):
            all_plans(BOSS)[act]()


def test_nothing_is_planned_from_what_nobody_knows() -> None:
    """Of a provider, a node, the slashes so far, or the work."""
    unread = node(UNKNOWN)
    asked: list[Callable[[], Plan]] = [
        lambda: whitelist_plan(AT, JUDGE, [provider(registered=UNKNOWN)]),
        lambda: whitelist_plan(AT, JUDGE, [provider(whitelisted=UNKNOWN)]),
        lambda: blacklist_plan(AT, JUDGE, [provider(whitelisted=UNKNOWN)]),
        lambda: validate_plan(AT, JUDGE, [unread], {}),
        lambda: validate_plan(
            AT, JUDGE, [node(info(validated=False))], {ME: provider(stake_wei=UNKNOWN)}
        ),
        lambda: invalidate_plan(AT, JUDGE, [unread]),
        lambda: invalidate_plan(AT, JUDGE, [unread], hard=True),
        lambda: slash_plan(AT, JUDGE, provider(), PENALTY, Reading.unknown("no events")),
        lambda: slash_plan(AT, JUDGE, provider(stake_wei=UNKNOWN), PENALTY, NONE_YET),
        lambda: invalidate_work_plan(
            AT, JUDGE, attrs.evolve(work(), past=UNKNOWN), [KEY], Invalidation()
        ),
        lambda: invalidate_work_plan(
            AT, JUDGE, attrs.evolve(work(), judge=UNKNOWN), [KEY], Invalidation()
        ),
    ]
    for ask in asked:
        with pytest.raises(ChainUnavailable):
            ask()


def test_one_that_the_registry_does_not_know_stops_all() -> None:
    """It is a mistyped one; but to make it unknown is what a hard invalidation is for."""
    for make in (whitelist_plan, blacklist_plan):
        with pytest.raises(NotFound):
            make(AT, JUDGE, [provider(), stranger()])
    with pytest.raises(NotFound):
        invalidate_plan(AT, JUDGE, [node(info()), node(NO)])
    plan = invalidate_plan(AT, JUDGE, [node(info()), node(NO)], hard=True)
    assert names(plan) == ["invalidated", "node removed"]
    assert "nothing to send" in plan.notes[0]


def test_nodes_whose_provider_lacks_stake_come_last() -> None:
    """What can be done is sent, and the others wait for their provider, once."""
    short = provider(address=OTHER, stake_wei=Reading.of(3))
    poor = [
        attrs.evolve(node(info(OTHER, validated=False)), node_id=NodeId(bytes([n]) * 20))
        for n in (1, 2)
    ]
    rich = node(info(validated=False))
    plan = validate_plan(AT, JUDGE, [*poor, rich], {ME: provider(), OTHER: short})
    assert names(plan) == ["validated", "stake", "validated", "validated"]
    assert len(plan.ready) == 1
    assert plan.ready[0].arguments == (ME, NODE)


def test_a_node_at_work_leaves_its_pool_before_the_registry() -> None:
    """All that needs nobody else goes first."""
    busy = attrs.evolve(node(info(active=True)), node_id=NodeId(b"\x05" * 20))
    plan = invalidate_plan(AT, JUDGE, [busy, node(info())], hard=True)
    assert names(plan) == ["invalidated", "invalidated", "node removed", "ejected", "node removed"]
    assert len(plan.ready) == 3
    softly = invalidate_plan(AT, JUDGE, [busy])
    assert names(softly) == ["invalidated"]
    assert "stays in its pool" in softly.notes[0]


def test_a_slash_is_known_by_its_reason() -> None:
    """The same takes nothing more, whatever the amount; none, or too long a one, is refused."""
    done = Reading.of(Slashes(5, (Slash(ME, 2, b"why", 8),)))
    assert slash_plan(AT, JUDGE, provider(), PENALTY, done).steps == ()
    other = attrs.evolve(PENALTY, reason=b"another")
    assert names(slash_plan(AT, JUDGE, provider(), other, done)) == ["slashed"]
    for wrong in (b"", b"x" * 257):
        with pytest.raises(Malformed):
            slash_plan(AT, JUDGE, provider(), attrs.evolve(PENALTY, reason=wrong), NONE_YET)
    with pytest.raises(Malformed):
        slash_plan(AT, JUDGE, provider(), attrs.evolve(PENALTY, amount_wei=0), NONE_YET)
    more = slash_plan(AT, JUDGE, provider(), attrs.evolve(PENALTY, amount_wei=11), NONE_YET)
    assert any("It has" in note for note in more.notes)


def test_work_is_submitted_by_its_provider_once() -> None:
    """Who else, or what else, is told before anything is sent."""
    inside, empty = (
        node(info(), in_pool=YES),
        attrs.evolve(work(), past=Reading.of(PastWork(5, {}))),
    )
    piece = Submission(KEY, 10)

    def plan(**changes: Any) -> Plan:
        told: dict[str, Any] = {
            "pool": pool(),
            "node": inside,
            "work": empty,
            "piece": piece,
            "by": ME,
            **changes,
        }
        return submit_plan(AT, **told)

    assert plan().ready[0].arguments == (7, NODE, KEY + (10).to_bytes(32, "big"))
    assert plan(work=work()).steps == ()
    for changed, error in (
        ({"by": OTHER}, NotAllowed),
        ({"node": node(info())}, NotFound),
        ({"work": work(node_id=NodeId(b"o" * 20))}, Conflict),
        ({"work": work(state=PieceState.REMOVED)}, Conflict),
        ({"work": attrs.evolve(empty, past=UNKNOWN)}, ChainUnavailable),
        ({"piece": Submission(b"short", 1)}, Malformed),
        ({"piece": Submission(KEY, 0)}, Malformed),
    ):
        with pytest.raises(error):
            plan(**changed)


def test_work_is_taken_back_once_and_no_more_than_there_is() -> None:
    """Softly its units, hard with its node; where nobody judges, that is told."""
    softly = invalidate_work_plan(AT, JUDGE, work(), [KEY], Invalidation(units=4))
    assert softly.ready[0].arguments == (7, KEY + (4).to_bytes(32, "big"))
    assert not softly.ready[0].asks
    hard = invalidate_work_plan(AT, JUDGE, work(), [KEY], Invalidation(penalty_wei=3))
    assert hard.ready[0].arguments == (7, 3, KEY)
    assert hard.ready[0].asks
    gone = work(state=PieceState.INVALIDATED)
    assert invalidate_work_plan(AT, JUDGE, gone, [KEY], Invalidation()).steps == ()
    with pytest.raises(Malformed):
        invalidate_work_plan(AT, JUDGE, work(), [KEY], Invalidation(units=11))
    with pytest.raises(NotFound):
        invalidate_work_plan(AT, JUDGE, work(), [b"?" * 32], Invalidation())
    with pytest.raises(Conflict, match="Nobody judges"):
        invalidate_work_plan(AT, JUDGE, attrs.evolve(work(), judge=NO), [KEY], Invalidation())
