"""Whoever answers is asked, a request is made once, and nothing that was read grows older."""

from typing import Any

import pytest

from p2pool.client.library.steps import Ask, Pause, Sign
from p2pool.codec.json import requests as forms
from p2pool.model.errors import (
    BadSpec,
    Conflict,
    Malformed,
    Misconfigured,
    NotAllowed,
    NotFound,
    Overloaded,
    Unavailable,
)
from p2pool.wire import typed_data
from tests.client.library.scripted import (
    AWAY,
    Said,
    Stage,
    copy_of,
    pool_answer,
    questions,
    task_answer,
)
from tests.wire.samples import ACCOUNT, POOL

SPEC = {"name": "hello", "image": "busybox", "command": ["true"]}
ACCEPTED = {
    "action": "submit",
    "task_id": "t",
    "node_id": None,
    "setting": None,
    "index": 9,
    "leader": None,
    "replicated": True,
    "duplicate": False,
}


def test_the_next_agent_is_asked_and_remembered() -> None:
    """One that is away costs one try; who answered is asked first the next time."""

    def answer(ask: Ask) -> Said:
        return AWAY if ask.agent == 0 else (200, task_answer())

    stage, asked = Stage(answer), questions()
    assert stage.run(asked.task("t"))[1].name == "n"
    stage.run(asked.task("t"))
    assert [agent for agent, _ in stage.asked()] == [0, 1, 1]
    assert not any(isinstance(step, Pause) for step in stage.told)


def test_patience_ends_and_a_refusal_ends_it_at_once() -> None:
    """Rounds with pauses until the time is over; another agent would refuse just the same."""
    stage = Stage(lambda ask: Overloaded("busy"))
    with pytest.raises(Overloaded, match="busy"):
        stage.run(questions(patience_s=3).task("t"))
    assert 2 < stage.now <= 3
    stage = Stage(lambda ask: (403, {"code": "not-allowed", "detail": "no"}))
    with pytest.raises(NotAllowed):
        stage.run(questions().task("t"))
    assert len(stage.asked()) == 1


def test_a_request_is_signed_once_and_sent_until_one_takes_it() -> None:
    """The same bytes to each agent, so that however many of them took it, there is one task."""
    stage = Stage(lambda ask: (200, ACCEPTED) if ask.agent == 2 else AWAY)
    _, said = stage.run(questions().submit(SPEC, None))
    bodies = [step.body for step in stage.told if isinstance(step, Ask) and step.body]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]
    signed = forms.read_request(bodies[0])
    assert typed_data.recover_request(POOL, signed).hex() == ACCOUNT.address[2:].lower()
    assert (said.task_id, said.index) == ("t", 9)


def test_agents_of_another_pool_are_refused() -> None:
    """By name; and nothing is signed for a pool that an agent only says it is of."""
    asked, stage = questions(2), Stage(lambda ask: (200, task_answer()))
    stage.pools[1] = (200, pool_answer(pool_id=POOL.pool_id + 1))
    stage.run(asked.task("t"))
    asked.rotation.at = 1
    assert stage.run(asked.task("t"))[1].name == "n"
    assert [agent for agent, _ in stage.asked()] == [0, 0]
    alone = questions(1)
    alone.pool = POOL
    stage.pools[0] = stage.pools[1]
    with pytest.raises(Misconfigured, match="of another pool"):
        stage.run(alone.submit(SPEC, None))
    assert [agent for agent, _ in stage.asked()] == [0, 0]


def test_what_is_no_agent_is_passed_over_unless_all_are_none() -> None:
    """A port that another program took, or a token that was replaced, hides no agent that works;
    where none does, that is said at once and not retried."""
    page: Said = (404, {})
    stage = Stage(lambda ask: page if ask.agent == 0 else (200, task_answer()))
    assert stage.run(questions(2).task("t"))[1].name == "n"
    stage = Stage(lambda ask: (401, {"code": "unauthorized", "detail": "The token is wrong."}))
    with pytest.raises(Misconfigured, match=r"agent-\d: The token is wrong"):
        stage.run(questions(2).task("t"))
    assert (len(stage.asked()), stage.now) == (2, 0)


def test_what_was_read_grows_no_older() -> None:
    """An agent that may not have applied what this client saw or wrote catches up first."""
    paths: list[str] = []

    def answer(ask: Ask) -> Said:
        paths.append(f"{ask.agent} {ask.path}")
        if ask.method == "POST":
            return 200, ACCEPTED
        if ask.agent == 0:
            return AWAY if len(paths) > 3 else (200, task_answer(index=5))
        return 200, task_answer(index=12)

    stage, asked = Stage(answer), questions(2)
    stage.run(asked.task("t"))
    stage.run(asked.submit(SPEC, None))
    stage.run(asked.task("t"))
    stage.run(asked.task("t"))
    stage.run(asked.task("t"))
    assert paths == [
        "0 /v1/tasks/t",
        "0 /v1/requests",
        "0 /v1/tasks/t?consistent=true",
        "0 /v1/tasks/t?consistent=true",
        "1 /v1/tasks/t?consistent=true",
        "1 /v1/tasks/t",
    ]


def test_all_pages_are_read() -> None:
    """Also over a change of agents: a place stands for a row, and not for an agent."""

    def answer(ask: Ask) -> Said:
        row = task_answer()["task"]
        if "after" not in ask.path:
            return 200, {"tasks": [row], "next": "p1"}
        return AWAY if ask.agent == 0 else (200, {"tasks": [row, row], "next": None})

    _, found = Stage(answer).run(questions(2).tasks(("running",), {"team": "a"}, None, False))
    assert len(found) == 3
    with pytest.raises(Misconfigured, match="has no end"):
        Stage(lambda ask: (200, {"tasks": [], "next": "p1"})).run(
            questions(1).tasks((), {}, None, False)
        )


@pytest.mark.parametrize(
    "answer",
    [
        {"task": None},
        {},
        {"task": {**task_answer()["task"], "name": 5}},
        {"task": {k: v for k, v in task_answer()["task"].items() if k != "state"}},
        task_answer(copy_of(gpus="none")),
        task_answer(copy_of(replica=True)),
    ],
)
def test_an_answer_of_another_form_is_told_so(answer: dict[str, Any]) -> None:
    """By a sentence of the tree, whatever answers."""
    with pytest.raises(Misconfigured, match="no agent"):
        Stage(lambda ask: (200, answer)).run(questions(1).task("t"))


def test_later_versions_may_say_more() -> None:
    """A key that nobody knows is passed over."""
    answer = task_answer(copy_of(colour="red"), shape="round")
    assert Stage(lambda ask: (200, answer)).run(questions(1).task("t"))[1].allocations[0].runs


def test_names_stay_in_their_route() -> None:
    """What would be another route names nothing, and nobody is asked."""
    for name in ("", "a/b", "../pool"):
        with pytest.raises(NotFound):
            Stage().run(questions().task(name))


def test_an_id_is_one_task_whatever_an_agent_says() -> None:
    """Or it could have another task stopped with the signature that it gets."""
    wanted, other = "ab" * 16, "cd" * 16
    stage = Stage(lambda ask: (200, task_answer(copy_of(), task_id=other)))
    with pytest.raises(NotFound, match=f"told of '{other}'"):
        stage.run(questions().stop(wanted, None))
    assert not any(isinstance(step, Sign) for step in stage.told)
    honest = Stage(lambda ask: (200, task_answer(copy_of(), task_id=wanted)))
    assert honest.run(questions().task(f"0x{wanted.upper()}"))[1].task_id == wanted


@pytest.mark.parametrize("meta", [{"epoch": "x"}, {"epoch": 1, "applied_index": None}])
def test_a_place_in_the_log_that_is_none_is_told_so(meta: dict[str, Any]) -> None:
    """And not raised as whatever Python makes of it."""
    stage = Stage(lambda ask: (200, task_answer(copy_of()) | {"meta": meta}))
    with pytest.raises(Misconfigured, match="where in the log"):
        stage.run(questions(1).task("t"))


def test_a_number_of_copies_that_is_none_is_one() -> None:
    """What a specification holds is what its signer wrote, as some agent tells it."""
    answer = task_answer(copy_of(), spec={"replicas": "many"})
    assert Stage(lambda ask: (200, answer)).run(questions(1).task("t"))[1].started


def test_who_cannot_sign_is_told_before_anything_is_sent() -> None:
    """With what to do."""
    with pytest.raises(Misconfigured, match="has no signer"):
        Stage().run(questions(signs=False).submit(SPEC, None))
    with pytest.raises(Malformed, match="no action"):
        Stage().run(questions().act("explode", "", None, None))


@pytest.mark.parametrize("key", ["secrets", "registry_auth", "secret_recipients"])
def test_secrets_are_for_the_command_line(key: str) -> None:
    """Nothing is signed that no node could open, and who asks is told what does it."""
    for flow in (
        questions().submit(SPEC | {key: ["db"]}, None),
        questions().submission(SPEC | {key: {}}),
    ):
        stage = Stage()
        with pytest.raises(BadSpec, match="p2pool task run does, with --secret"):
            stage.run(flow)
        assert stage.told == []
    with pytest.raises(Malformed) as failed:
        Stage().run(questions().act("set-secret", "t", None, None))
    assert "p2pool task set-secret" in failed.value.hint
    with pytest.raises(Malformed) as failed:
        Stage().run(questions().act("submit", "", None, None))
    assert "submit(spec)" in failed.value.hint


def test_waiting_says_why_it_was_in_vain() -> None:
    """Started is when all copies run; ended is not; the reasons are in the error."""
    waits = task_answer(copy_of(state="pending", node_id=None, reason="no node has 9 GPUs"))
    stage = Stage(lambda ask: (200, waits))
    with pytest.raises(Unavailable, match=r"After 5 s .*no node has 9 GPUs"):
        stage.run(questions().wait("t", "started", 5))
    runs = Stage(lambda ask: (200, task_answer(copy_of())))
    assert runs.run(questions().wait("t", "started", 5))[1].started
    with pytest.raises(Unavailable):
        runs.run(questions().wait("t", "ended", 5))
    over = Stage(lambda ask: (200, task_answer(copy_of(state="failed"), state="failed")))
    assert over.run(questions().wait("t", "started", 5))[1].ended
    with pytest.raises(Malformed, match="nothing to wait for"):
        over.run(questions().wait("t", "tomorrow", 5))


def test_two_tasks_of_a_name_are_told_apart_by_the_pool() -> None:
    """A conflict is an answer."""
    with pytest.raises(Conflict):
        Stage(lambda ask: (409, {"code": "conflict", "detail": "2 match"})).run(
            questions().task("t")
        )


def test_what_of_a_right_is_in_use() -> None:
    """Of one account: limits and use, typed; some have no limit, some no grantor any more."""
    row: dict[str, Any] = {
        "id": "1",
        "delegate": "0x1",
        "grantor": "0x2",
        "scope": "submit",
        "state": "in-force",
        "not_before_s": 1,
        "not_after_s": 2,
        "revoked_before_s": None,
        "tasks": 1,
        "tasks_ended": 0,
        "used": {"gpus": 1, "cpu_milli": 500, "replicas": 2},
    }
    limited = {
        "max_gpus": 4,
        "max_cpu_milli": None,
        "max_replicas": None,
        "max_priority": None,
        "name_prefix": "acme-",
    }
    rows = [row | {"quota": limited}, row | {"quota": None, "grantor": None, "scope": None}]
    stage = Stage(lambda ask: (200, {"access": rows, "next": None}))
    first, second = stage.run(questions().access("0x1", False))[1]
    assert (first.used.replicas, first.quota.max_gpus, first.quota.name_prefix) == (2, 4, "acme-")
    assert (second.quota, second.grantor) == (None, None)
    assert "delegate=0x1" in stage.asked()[0][1]
