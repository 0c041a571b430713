"""The log against etcd's: durable writes and failover, three members each, in the same run.

What is fair: both sides run on this machine, one after the other, with their data in the same
directory; the same client sends to both over HTTP connections that are kept, spread over all
members. etcd is asked through the JSON gateway that is part of it, which costs it a little; the
writes of p2pool are signed by an account and each is checked, which costs it more. A write counts
when it is committed by a majority, on disk. p2pool's timing `default` is etcd's own in effect (it
draws its timeouts from 1 to 2 s), `lan` is etcd with heartbeats of 50 and elections of 300 ms.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from p2pool.client.discovery import agent_in
from p2pool.codec.json import requests
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.model.access.requests import Action
from tests.bench.load import Write, first_accepted, http_post, latencies, together
from tests.bench.measurements import User
from tests.bench.peers import etcd
from tests.bench.rows import Row, p95

SUITE = "etcd"
MEMBERS = 3
ALONE, CLIENTS, EACH, KILLS = 60, 32, 40, 10
WITHIN_S = 30.0
EQUAL = ("--heartbeat-interval", "50", "--election-timeout", "300")

Say = Callable[[str], None]


@attrs.frozen
class Figures:
    """What is measured of either side, in seconds and writes per second."""

    alone: list[float]
    crowd: list[float]
    per_second: float


def measured(writes: Callable[[int, int], Write]) -> Figures:
    """Latency by one client and by many. `writes(member, number)` makes a fresh write."""
    for member in range(MEMBERS):  # Connections, caches and code warm up.
        latencies([writes(member, -1 - number) for number in range(10)])
    alone = [
        seconds
        for member in range(MEMBERS)
        for seconds in latencies([writes(member, number) for number in range(ALONE)])
    ]
    shares = [
        [writes(client % MEMBERS, client * EACH + number) for number in range(EACH)]
        for client in range(CLIENTS)
    ]
    crowd, per_second = together(shares)
    return Figures(alone, crowd, per_second)


# --- p2pool -------------------------------------------------------------------------------------


def signed_write(user: User, agent: DevAgent, value: str = "default") -> Write:
    """A signed request that changes a setting of the pool to what it is."""
    found = agent_in(agent.directory)
    signed = user.signed(Action.SET, "timing", json.dumps({"value": value}))
    body = json.dumps(requests.request_json(signed)).encode()
    return http_post(found.url, "/v1/requests", body, f"Authorization: Bearer {found.token}")


async def failovers(pool: DevPool, user: User, timing: str, say: Say) -> list[float]:
    """Seconds from SIGKILL of the leader to the next accepted write, at one of the others."""
    first = signed_write(user, pool.agents[0], timing)
    await trio.to_thread.run_sync(latencies, [first])
    taken = []
    for number in range(KILLS):
        led = await pool.wait_elected(pool.agents)
        await pool.wait_committee(MEMBERS)
        leader = next(a for a in pool.agents if a.node_id == led["node_id"])
        rest = [a for a in pool.agents if a is not leader]
        ready = [signed_write(user, rest[n % 2], timing) for n in range(2 * int(WITHIN_S) * 10)]
        assert leader.child is not None
        began = time.perf_counter()
        leader.child.signal(9)
        seconds = await trio.to_thread.run_sync(first_accepted, ready.__getitem__, began, WITHIN_S)
        taken.append(seconds)
        say(f"p2pool, {timing} timing: {number + 1} of {KILLS}: {seconds:.2f} s")
        await leader.child.wait_gone()
        await pool.start_agent(leader)
    return taken


# --- etcd ---------------------------------------------------------------------------------------


def etcd_failovers(cluster: etcd.Etcd, name: str, say: Say) -> list[float]:
    """The same."""
    taken = []
    for number in range(KILLS):
        leader = cluster.leader()
        time.sleep(1)
        rest = [member for member in cluster.members if member is not leader]
        assert leader.process is not None
        began = time.perf_counter()
        leader.process.kill()
        seconds = first_accepted(partial(_put, rest), began, WITHIN_S)
        taken.append(seconds)
        say(f"etcd, {name} timing: {number + 1} of {KILLS}: {seconds:.2f} s")
        leader.kill()
        leader.start()
    return taken


def _put(members: Sequence[etcd.Member], number: int) -> Write:
    return members[number % len(members)].write(number)


# --- the table ----------------------------------------------------------------------------------


async def measure(directory: Path, say: Say) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    theirs, their_default = await trio.to_thread.run_sync(_etcd, directory / "a", (), say)
    _, their_equal = await trio.to_thread.run_sync(_etcd, directory / "b", EQUAL, say)
    pool = DevPool(directory / "pool", say)
    try:
        await pool.up(MEMBERS)
        await pool.wait_heartbeats()
        await pool.wait_committee(MEMBERS)
        user = await trio.to_thread.run_sync(User, pool)
        say("p2pool: durable writes")
        ours = await trio.to_thread.run_sync(
            measured, lambda member, number: signed_write(user, pool.agents[member])
        )
        ours_default = await failovers(pool, user, "default", say)
        ours_equal = await failovers(pool, user, "lan", say)
    finally:
        with trio.CancelScope(shield=True):
            await pool.down()
    rows += _latency("by 1 client", ours.alone, theirs.alone, with_aim=True)
    rows += _latency("by 32 clients", ours.crowd, theirs.crowd, with_aim=False)
    rows.append(
        Row(
            SUITE,
            "writes per second, 32 clients",
            ours.per_second,
            "/s",
            f"etcd {theirs.per_second:.0f} /s",
            theirs.per_second / 2,
            more=True,
        )
    )
    rows += _failover("default timing", ours_default, their_default)
    rows += _failover("equal timing (lan)", ours_equal, their_equal)
    return rows


def _etcd(directory: Path, options: Sequence[str], say: Say) -> tuple[Figures, list[float]]:
    name = "equal" if options else "default"
    with etcd.running(directory, MEMBERS, options) as cluster:
        say(f"etcd, {name} timing: durable writes")
        figures = measured(lambda member, number: cluster.members[member].write(number))
        return figures, etcd_failovers(cluster, name, say)


def _latency(what: str, ours: list[float], theirs: list[float], *, with_aim: bool) -> list[Row]:
    out = []
    for name, of in (("median", statistics.median), ("95th of 100", p95)):
        mine, other = of(ours) * 1000, of(theirs) * 1000
        out.append(
            Row(
                SUITE,
                f"durable write {what}, {name}",
                mine,
                "ms",
                f"etcd {other:.2f} ms",
                other if with_aim else None,
            )
        )
    return out


def _failover(timing: str, ours: list[float], theirs: list[float]) -> list[Row]:
    out = []
    for name, of in (("median", statistics.median), (f"worst of {KILLS}", max)):
        mine, other = of(ours), of(theirs)
        out.append(
            Row(
                SUITE,
                f"leader killed to next write, {timing}, {name}",
                mine,
                "s",
                f"etcd {other:.2f} s",
                other,
            )
        )
    return out
