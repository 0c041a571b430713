"""The rules of leadership, each as a scenario of real processes; every test leaves it whole."""

import itertools
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pool.dev.pool import DevAgent
from p2pool.model.access.requests import Action
from p2pool.model.tasks.spec import Constraint, OnDisconnect
from tests.chaos.faults.tcp_proxy import apart
from tests.chaos.fixtures import PATIENCE_S, POLL_S, Said, Scene

pytestmark = [pytest.mark.e2e, pytest.mark.chain]


async def test_a_graceful_stop_hands_leadership_on(scene: Scene) -> None:
    """Somebody leads when the old leader's process is gone, and writes never stop for long."""
    old = await scene.leader()
    at = scene.others(old)[0]
    acknowledged: list[float] = []
    stopped = trio.Event()

    async def write_on() -> None:
        while not stopped.is_set():
            signed, _ = scene.user.submission(f"hand-over-{len(acknowledged)}")
            answer = await scene.write(at, signed)
            acknowledged.append(time.monotonic())
            await scene.write(at, scene.user.signed(Action.STOP, answer["task_id"]))
            await trio.sleep(POLL_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_on)
        await trio.sleep(1)
        before = await scene.term(at)
        await scene.pool.kill(old.name, signal.SIGTERM)
        new = await scene.elected(old, scene.others(old))
        assert await scene.term(new) > before
        count = len(acknowledged)
        await scene.until("writes after it", lambda: _more(acknowledged, count + 2))
        stopped.set()
    gaps = [b - a for a, b in itertools.pairwise(acknowledged)]
    print(f"longest gap between acknowledged writes: {max(gaps):.2f} s")
    assert max(gaps) < PATIENCE_S / 2
    await scene.pool.start_agent(old)
    await scene.pool.wait_healed()


async def _more(times: list[float], count: int) -> bool:
    return len(times) >= count


async def test_a_paused_leader_that_wakes_does_no_harm(scene: Scene) -> None:
    """It tells nothing stale, what it takes is not lost, and nobody obeys its old orders."""
    old = await scene.leader()
    at = scene.others(old)[0]
    signed, stopped = scene.user.submission("stopped-meanwhile", on=at.node_id)
    await scene.write(at, signed)
    await scene.until("the task running", lambda: scene.running(stopped))
    drained = scene.others(old)[1]
    scene.pool.pause(old.name)
    new = await scene.elected(old, scene.others(old))
    await scene.write(new, scene.user.signed(Action.STOP, stopped))
    made, fresh = scene.user.submission("made-meanwhile", on=at.node_id)
    await scene.write(new, made)
    await scene.write(new, scene.user.signed(Action.DRAIN, drained.node_id))
    await scene.until("its end", lambda: scene.not_running(stopped))

    late, late_task = scene.user.submission("asked-of-the-sleeper")
    end_of_fresh = scene.user.signed(Action.STOP, fresh)
    resumed = scene.user.signed(Action.RESUME, drained.node_id)
    said: dict[str, Said] = {}

    async def ask(name: str, act: Callable[[], Awaitable[Said]]) -> None:
        said[name] = await act()

    node = f"/v1/nodes/{drained.node_id}?consistent=true"
    async with trio.open_nursery() as nursery:
        # All of this waits in its sockets, and is what it sees first when it wakes.
        nursery.start_soon(ask, "fresh", lambda: scene.task(old, fresh))
        nursery.start_soon(ask, "stopped", lambda: scene.task(old, stopped))
        nursery.start_soon(ask, "node", lambda: scene.http(old, "GET", node))
        nursery.start_soon(ask, "late", lambda: scene.post(old, late))
        nursery.start_soon(ask, "end", lambda: scene.post(old, end_of_fresh))
        nursery.start_soon(ask, "resume", lambda: scene.post(old, resumed))
        await trio.sleep(1)
        scene.pool.go_on(old.name)

    assert said["fresh"].status in (200, 503), said["fresh"]
    assert said["stopped"].status in (200, 503), said["stopped"]
    if said["stopped"].status == 200:
        assert said["stopped"].body["task"]["stop_requested"]
    assert said["node"].status in (200, 503), said["node"]
    if said["node"].status == 200:
        assert said["node"].body["node"]["intent"] in ("draining", "drained", "eligible")
    for name in ("late", "end", "resume"):
        assert said[name].status in (200, 503), (name, said[name])
    for _ in range(10):
        assert await scene.not_running(stopped), "the sleeper's orders were obeyed"
        await trio.sleep(POLL_S)
    for one in (late, end_of_fresh, resumed):
        await scene.write(at, one)
    await scene.until("the late task running", lambda: scene.running(late_task))
    await scene.until("the end of the other", lambda: scene.not_running(fresh))
    await scene.write(at, scene.user.signed(Action.STOP, late_task))
    await scene.pool.wait_healed()
    names = [t["name"] for t in (await scene.pool.tasks(at))["tasks"]]
    assert names.count("asked-of-the-sleeper") == 1


async def test_an_isolated_leader_steps_down_and_says_so(scene: Scene) -> None:
    """Its client gets 503 and when to come again, never a wrong answer; plain reads go on."""
    old = await scene.leader()
    rest = scene.others(old)
    first, there = scene.user.submission("before-the-split")
    await scene.write(old, first)
    scene.pool.links.block(apart([old.name], [a.name for a in rest]))
    new = await scene.elected(old, rest)
    made, elsewhere = scene.user.submission("on-the-other-side")
    await scene.write(new, made)
    lost, lost_task = scene.user.submission("asked-of-the-isolated")

    answers: list[Said] = []

    async def ask(act: Callable[[], Awaitable[Said]]) -> None:
        answers.append(await act())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, lambda: scene.post(old, lost))
        nursery.start_soon(ask, lambda: scene.task(old, elsewhere))
        nursery.start_soon(ask, lambda: scene.task(old, there))
        stop = scene.user.signed(Action.STOP, elsewhere)
        nursery.start_soon(ask, lambda: scene.post(old, stop))
    for answer in answers:
        assert answer.status == 503, answer
        assert int(answer.headers["retry-after"]) > 0
        assert answer.body["code"] in ("no-leader", "unavailable")
        assert answer.body["hint"]
    plain = await scene.http(old, "GET", f"/v1/tasks/{there}")
    assert plain.status == 200
    assert plain.body["meta"]["leader"] is None
    assert (await scene.http(old, "GET", "/v1/readiness")).status == 503
    assert (await scene.task(new, lost_task)).status == 404
    await scene.pool.wait_healed()
    for at in (old, new):  # The same request again, twice: it is carried out once.
        await scene.write(at, lost)
    names = [t["name"] for t in (await scene.pool.tasks(new))["tasks"]]
    assert names.count("asked-of-the-isolated") == 1
    for task in (there, elsewhere, lost_task):
        await scene.write(new, scene.user.signed(Action.STOP, task))


async def test_the_api_answers_during_an_election(scene: Scene) -> None:
    """Every read of every agent that lives is answered, before, during and after."""
    old = await scene.leader()
    rest = scene.others(old)
    answered: dict[str, int] = {}
    over = trio.Event()

    async def read_on(agent: DevAgent) -> None:
        while not over.is_set():
            for path in ("/v1/health", "/v1/tasks", "/v1/leader"):
                said = await scene.http(agent, "GET", path)
                assert said.status == 200, (agent.name, path, said)
                answered[agent.name] = answered.get(agent.name, 0) + 1
            await trio.sleep(POLL_S)

    async with trio.open_nursery() as nursery:
        for agent in rest:
            nursery.start_soon(read_on, agent)
        await scene.pool.kill(old.name)
        await scene.elected(old, rest)
        over.set()
    assert set(answered) == {a.name for a in rest}
    await scene.pool.start_agent(old)
    await scene.pool.wait_healed()


async def test_a_lost_majority_and_back(scene: Scene) -> None:
    """Without a quorum reads and tasks go on and writes wait; one voter back, all goes on."""
    signed, task = scene.user.submission("outlives-the-quorum")
    leader = await scene.leader()
    await scene.write(leader, signed)
    lost = [leader, *scene.others(leader)[:2]]
    left = scene.others(*lost)
    for agent in left:
        await scene.pool.wait("it running", lambda agent=agent: scene.is_said(agent, task))  # type: ignore[misc]
    for agent in lost:
        await scene.pool.kill(agent.name)
    refused, refused_task = scene.user.submission("without-a-quorum")
    for agent in left:
        said = await scene.post(agent, refused)
        assert said.status == 503, said
        assert said.headers["retry-after"]
        plain = await scene.http(agent, "GET", f"/v1/tasks/{task}")
        assert plain.status == 200
        assert plain.body["task"]["state"] == "running"
        assert (await scene.task(agent, task)).status == 503
    assert await scene.running(task)

    async def said_so() -> bool:
        ready = await scene.http(left[0], "GET", "/v1/readiness")
        return ready.status == 503 and any("quorum" in one for one in ready.body["problems"])

    await scene.until("word of the quorum", said_so)
    await scene.pool.start_agent(lost[1])
    await scene.write(left[0], refused)
    for agent in (lost[0], lost[2]):
        await scene.pool.start_agent(agent)
    await scene.pool.wait_healed()
    assert await scene.running(task)
    for one in (task, refused_task):
        await scene.write(left[0], scene.user.signed(Action.STOP, one))


async def test_a_follower_that_was_away_disturbs_nobody(scene: Scene) -> None:
    """Cut off and back again, with its connections reset meanwhile: same leader, same term."""
    leader = await scene.leader()
    away = scene.others(leader)[0]
    rest = scene.others(away)
    before = await scene.term(leader)
    pairs = apart([away.name], [a.name for a in rest])
    scene.pool.links.sever(pairs)

    async def noticed() -> bool:
        seen = await scene.pool.ask(away, "/v1/leader")
        return bool(seen["leader"]["node_id"] is None)

    await scene.until("a follower without a leader", noticed)
    await trio.sleep(4)  # Long enough for several of its own timeouts.
    scene.pool.links.mend(pairs)
    await scene.pool.wait_healed()
    assert await scene.leader() == leader
    assert await scene.term(leader) == before


async def test_a_copy_that_stops_without_a_leader_never_runs_twice(scene: Scene) -> None:
    """Cut off it ends by itself; only then, and a while later, does another one begin elsewhere."""
    leader = await scene.leader()
    signed, task = scene.user.submission(
        "never-twice",
        reconnect_window_s=5,
        on_disconnect=OnDisconnect.STOP,
        constraints=(Constraint("node", leader.node_id, equals=False),),
    )
    await scene.write(leader, signed)
    await scene.until("it running", lambda: scene.is_said(leader, task))
    (first,) = await scene.places(task)
    scene.pool.links.block(apart([first], [n for n in scene.pool.names if n != first]))
    seen: list[list[str]] = []

    async def elsewhere() -> bool:
        seen.append(await scene.places(task))
        return seen[-1] not in ([], [first])

    await scene.until("a copy elsewhere", elsewhere, patience_s=180)
    assert [] in seen
    assert max(len(places) for places in seen) == 1
    await scene.pool.wait_healed()
    assert len(await scene.places(task)) == 1
    await scene.write(leader, scene.user.signed(Action.STOP, task))
