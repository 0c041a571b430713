"""A copy gets the secrets of its task wherever it runs, as long as somebody can seal them to it."""

import attrs
import pytest

from p2pool.core.fsm.state import PoolState
from p2pool.core.scheduler.capacity import NEEDS_SUBMITTER
from p2pool.model import limits
from p2pool.model.errors import BadSpec, Unavailable
from p2pool.model.ids import Digest
from p2pool.model.ports.agent import Accepted
from p2pool.model.tasks.secrets import RecipientPolicy
from tests.sim.harness.pool import Pool, formed
from tests.sim.harness.secret_tasks import EACH_ALONE, SECRET, SecretTasks, disk_bytes

OTHER = b"another secret, set later on"


def with_level_two(size: int = 3, seed: int = 7) -> tuple[Pool, SecretTasks]:
    pool = formed(size, seed)
    pool.until(lambda: all(pool.node(n).context.level == 2 for n in range(size)))
    return pool, SecretTasks(pool)


def test_a_copy_gets_what_was_submitted_through_another_peer() -> None:
    """Submitted at each peer in turn, the leader among them; a majority of the voters holds it."""
    pool, secrets = with_level_two()
    for at in range(3):
        name = secrets.run(at, range(3), replicas=3)
        got = secrets.got(name)
        assert sorted(value for values in got.values() for value in values) == [SECRET] * 3
        (task,) = [t for t in _state(pool).tasks.values() if t.task_id == name]
        assert len(secrets.holding(Digest(bytes.fromhex(task.spec.secrets.digest)))) >= 2


def _state(pool: Pool) -> PoolState:
    state = pool.node(pool.leader().number).context.pool_log.state
    assert state is not None
    return state


def test_the_log_names_no_blob_that_a_majority_lacks() -> None:
    """While two of three voters have no room, nothing is proposed, and the client is told."""
    pool, secrets = with_level_two()
    leader = pool.leader()
    voters = [m for m in pool.world.machines if m is not leader]
    for m in voters:
        pool.node(m.number).context.secrets.size_bytes = limits.SECRET_BLOBS_MAX_BYTES
    number = secrets.submit(leader.number, range(3))
    answer = pool.reply(number)
    assert isinstance(answer, Unavailable)
    assert "voters" in answer.message
    assert "MiB" in answer.message
    text = pool.signed[number].request.spec_json.encode()
    assert not any(text in disk_bytes(m) for m in pool.world.machines)


def test_a_request_without_its_blob_or_with_another_is_refused() -> None:
    """At the peer that takes it: nothing is proposed."""
    pool, secrets = with_level_two()
    number = secrets.submit(0, range(3), blob=b"something else")
    assert isinstance(pool.reply(number), BadSpec)
    spec = _state(pool).tasks[secrets.run(0, range(3))].spec
    unknown = attrs.evolve(spec.secrets, digest="ab" * 32)
    assert isinstance(pool.reply(secrets.copy_of(0, unknown, None)), BadSpec)


def test_blobs_and_keys_survive_restarts_of_all() -> None:
    """All agents die and start again: the copy that has to be placed anew gets its secrets."""
    pool, secrets = with_level_two()
    name = secrets.run(0, range(3))
    for number in range(3):
        pool.world.crash(number)
    for m in pool.world.machines:
        m.engine.containers.clear()
        pool.world.start(m.number)

    def runs_again() -> bool:
        return list(secrets.got(name).values()) == [[SECRET]]

    pool.until(runs_again, 180_000)


@pytest.mark.parametrize("leads", [False, True])
def test_a_node_that_comes_later_is_sealed_to_by_one_that_runs_it(leads: bool) -> None:
    """Two copies that cannot share a machine, sealed to one alone: it runs the first, and seals to
    whoever gets the second. A leader does so as any other, though nobody announces to it what the
    voters have signed."""
    pool, secrets = with_level_two()
    holder = (pool.leader() if leads else pool.other()).number
    name = secrets.run(0, [holder], replicas=2, ports=EACH_ALONE)
    got = secrets.got(name)
    assert len(got) == 2
    assert set(map(tuple, got.values())) == {(SECRET,)}
    later = next(number for number in got if number != holder)
    assert pool.world.machines[later].disk.tables["secret_keys"]


def test_where_nobody_can_seal_it_waits_for_its_submitter() -> None:
    """The one node with the key is gone: the copy waits, says for whom, and runs elsewhere with
    what its submitter provides."""
    pool, secrets = with_level_two()
    follower = pool.other().number
    name = secrets.run(pool.leader().number, [follower], reconnect_window_s=5)
    assert list(secrets.got(name)) == [follower]
    pool.world.crash(follower)

    def waits() -> bool:
        return any(NEEDS_SUBMITTER in reason for reason in secrets.reasons(name))

    pool.until(waits, 120_000)
    assert secrets.got(name) == {follower: [SECRET]}
    rest = [number for number in range(3) if number != follower]
    number = secrets.renew(rest[0], name, rest, SECRET, restart=False)
    assert isinstance(pool.reply(number), Accepted)

    def runs_elsewhere() -> bool:
        return any(number != follower for number in secrets.got(name))

    pool.until(runs_elsewhere, 120_000)


def test_secrets_that_are_set_reach_one_copy_after_the_other() -> None:
    """At no moment is more than one away, and in the end all have the new ones."""
    pool, secrets = with_level_two()
    name = secrets.run(0, range(3), replicas=3)
    fewest = [3]

    def look(_: object) -> None:
        leaders = [m for m in pool.world.machines if m.node and m.node.context.pool_log.leads]
        state = leaders[0].node.context.pool_log.state if leaders else None  # type: ignore[union-attr]
        if state is not None:
            running = sum(c.state.name == "RUNNING" for c in state.of_task(name))
            fewest[0] = min(fewest[0], running)

    pool.world.on_step.append(look)
    before = Digest(bytes.fromhex(_state(pool).tasks[name].secrets.digest))
    number = secrets.renew(1, name, range(3), OTHER, restart=True)
    assert isinstance(pool.reply(number), Accepted)

    def all_new() -> bool:
        got = [value for values in secrets.got(name).values() for value in values]
        return got == [OTHER] * 3

    pool.until(all_new, 180_000)
    assert fewest == [2]
    pool.until(lambda: not secrets.holding(before), 60_000)


def test_secrets_that_are_only_provided_restart_nothing() -> None:
    """What runs keeps what it has."""
    pool, secrets = with_level_two()
    name = secrets.run(0, range(3), replicas=2)
    started = [m.engine.started for m in pool.world.machines]
    assert isinstance(pool.reply(secrets.renew(1, name, range(3), OTHER, restart=False)), Accepted)
    pool.world.run(30_000)
    assert [m.engine.started for m in pool.world.machines] == started
    assert set(map(tuple, secrets.got(name).values())) <= {(SECRET,), (SECRET, SECRET)}


def test_a_policy_keeps_copies_from_other_nodes() -> None:
    """Also while one that runs could seal on: the second copy waits."""
    pool, secrets = with_level_two()
    only = RecipientPolicy(nodes=(pool.world.machines[1].node_id.hex(),))
    number = secrets.submit(0, [1], policy=only, replicas=2, ports=EACH_ALONE)
    name = secrets.task(number)
    pool.until(lambda: sorted(pool.states(name)) == ["PENDING", "RUNNING"])
    pool.until(lambda: any("is no recipient" in reason for reason in secrets.reasons(name)))
    pool.world.run(20_000)
    assert list(secrets.got(name)) == [1]


def test_blobs_and_keys_go_when_the_task_is_over() -> None:
    """From all disks."""
    pool, secrets = with_level_two()
    name = secrets.run(0, [1], replicas=2, ports=EACH_ALONE)
    pool.stop(0, name)
    pool.until(
        lambda: (
            not any(
                m.disk.tables["secret_blobs"] or m.disk.tables["secret_keys"]
                for m in pool.world.machines
            )
        ),
        120_000,
    )


def test_a_new_voter_fetches_what_the_log_needs() -> None:
    """One voter's disk is lost: when it votes again it has the blob."""
    pool, secrets = with_level_two()
    name = secrets.run(0, range(3))
    digest = Digest(bytes.fromhex(_state(pool).tasks[name].secrets.digest))
    gone = pool.other()
    del gone.disk.tables["secret_blobs"][digest]
    pool.world.crash(gone.number)
    pool.world.start(gone.number)
    pool.until(lambda: gone.number in secrets.holding(digest), 60_000)


def test_where_no_voter_has_it_any_longer_a_node_that_runs_the_task_is_asked() -> None:
    """All voters changed at once, or a recovery began with others: the copy has what they lack."""
    pool, secrets = with_level_two(5)
    seats = {
        m.number for m in pool.world.machines if not pool.node(m.number).context.pool_log.fetches
    }
    (at, *_) = [number for number in range(5) if number not in seats]
    name = secrets.run(at, [at])
    digest = Digest(bytes.fromhex(_state(pool).tasks[name].secrets.digest))
    for number in seats:
        pool.world.crash(number)
        pool.world.machines[number].disk.tables["secret_blobs"].pop(digest, None)
    for number in seats:
        pool.world.start(number)
    pool.until(lambda: seats <= set(secrets.holding(digest)), 120_000)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_leader_that_dies_on_the_way_loses_nothing(seed: int) -> None:
    """The client sends the same request again, through whoever is there: it runs once."""
    pool, secrets = with_level_two(3, seed)
    leader = pool.leader().number
    at = next(n for n in range(3) if n != leader)
    number = secrets.submit(at, range(3))
    pool.world.run(20 * seed)
    pool.world.crash(leader)
    name = secrets.task(number)
    pool.until(lambda: number in pool.world.replies, 60_000)
    pool.world.start(leader)
    pool.until(lambda: pool.states(name) == ["RUNNING"], 60_000)
    assert [value for values in secrets.got(name).values() for value in values] == [SECRET]
