"""A piece is compared with runs on other providers' nodes, and is wrong only if these agree."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from p2pool.client import Client
from p2pool.client.library.answers import Accepted, Allocation, Task
from p2pool.codec.json.hex import address_text
from p2pool.codec.spec.spec import spec_json
from p2pool.model.errors import Misconfigured, Unavailable
from p2pool.validator.judging.judge import WorkConclusion
from p2pool.validator.judging.re_execution import (
    LABEL,
    NAME,
    ReExecution,
    digest_in,
    make,
    spec_elsewhere,
    units_in,
)
from tests.validator.judging.cases import NODE, POOL, PROVIDER, work

RIGHT, WRONG, UNKNOWN = WorkConclusion.RIGHT, WorkConclusion.WRONG, WorkConclusion.UNKNOWN
KEY = work().key.hex()
OTHER = "ee" * 32
SPEC: dict[str, Any] = {
    "name": "sum",
    "image": "busybox",
    "command": ["sh", "-c", "make /w.json; sha256sum /w.json"],
    "replicas": 3,
    "labels": {LABEL: NAME, "team": "a"},
    "work": {"file": "/w.json", "units": 12},
    "constraints": [
        {"attribute": "node", "value": address_text(NODE)},
        {"attribute": "architecture", "value": "amd64"},
    ],
}


def allocation(task_id: str, node: str, state: str = "succeeded", image: str = "") -> Allocation:
    """A copy of a task."""
    return Allocation(
        id=f"{task_id}.0",
        task_id=task_id,
        task_name="sum",
        replica=0,
        attempt=1,
        state=state,
        node_id=node,
        gpus=(),
        reason="",
        exit_code=0,
        oom_killed=False,
        image_digest=image,
        changed_at_ms=0,
        health="",
    )


def task(spec: dict[str, Any], task_id: str = "a" * 32, *copies: Allocation) -> Task:
    """A task that has ended, with a copy that succeeded on the node."""
    return Task(
        task_id=task_id,
        name=spec["name"],
        image=spec["image"],
        signer="",
        state="succeeded",
        stop_requested=False,
        submitted_at_ms=0,
        spec=spec,
        allocations=copies or (allocation(task_id, address_text(NODE)),),
    )


@attrs.define
class Line:
    """A line of a log."""

    data: bytes


@attrs.define
class Named:
    """What a judge reads of a pool, and of a node."""

    chain_id: int = POOL.chain_id
    pool_id: int = POOL.pool_id
    provider: str = ""


@attrs.define
class FakePool:
    """A pool whose nodes run what is submitted: one after the other, each with its log, and of a
    provider of its own. `None` for a log: nobody runs it."""

    tasks_there: list[Task]
    logs_of: list[list[str] | None]
    image: str = ""
    on: str | None = None
    submitted: list[dict[str, Any]] = attrs.field(factory=list)
    stopped: list[str] = attrs.field(factory=list)
    pool_id: int = POOL.pool_id

    def pool(self) -> Named:
        """Which pool it is."""
        return Named(pool_id=self.pool_id)

    def tasks(self, *, states: tuple[str, ...]) -> list[Task]:
        """All of them."""
        assert states == ()
        return self.tasks_there

    def submit(self, spec: dict[str, Any]) -> Accepted:
        """Take a run."""
        spec_json(spec)
        self.submitted.append(spec)
        return Accepted(
            action="submit",
            task_id=f"{len(self.submitted):032x}",
            node_id=None,
            setting=None,
            index=1,
            leader=None,
            replicated=True,
            duplicate=False,
        )

    def wait(self, name: str, *, until: str, timeout_s: int) -> Task:
        """The run, at its end."""
        assert (until, timeout_s) == ("ended", 30)
        number = int(name, 16)
        if self.logs_of[number - 1] is None:
            raise Unavailable("No node takes it.")
        copy = allocation(name, f"0x{number:040x}", image=self.image)
        return task(self.submitted[number - 1], name, copy)

    def stop(self, name: str) -> None:
        """Stop a run."""
        self.stopped.append(name)

    def node(self, name: str) -> Named:
        """The node, of a provider of its own."""
        return Named(provider=self.on or f"0x{int(name, 16) + 0x100:040x}")

    @contextmanager
    def logs(self, name: str, *, tail_lines: int) -> Any:
        """What the run wrote."""
        assert tail_lines > 0
        said = self.logs_of[int(name, 16) - 1]
        assert said is not None
        yield [Line(line.encode()) for line in said]


def judged(pool: FakePool, agree: int = 2, **changes: Any) -> tuple[WorkConclusion, str, int]:
    """What the judge says of a piece."""
    found = ReExecution(cast(Client, pool), agree, 30).judge(work(**changes))
    return found.conclusion, found.evidence, found.shortfall_permille


def saying(*digests: str | None, **changes: Any) -> FakePool:
    """A pool with the task, whose runs come to these digests."""
    logs: list[list[str] | None] = [
        None if one is None else ["begun", f"{one}  /w.json", "done"] for one in digests
    ]
    return FakePool([task(SPEC)], logs, **changes)


def test_the_same_digest_elsewhere_is_right() -> None:
    """One run is enough, on no node of the provider; nothing of it is submitted as work."""
    pool = saying(KEY)
    assert judged(pool)[0] is RIGHT
    (spec,) = pool.submitted
    assert spec["constraints"] == [
        {"attribute": "architecture", "value": "amd64"},
        {"attribute": "provider", "value": address_text(PROVIDER), "equals": False},
    ]
    assert not {"work", "replicas", "system", "gang"} & set(spec)
    assert spec["deadline_s"] == 30
    assert LABEL not in spec["labels"]
    assert pool.stopped == []


def test_two_others_that_agree_make_it_wrong() -> None:
    """The second run is on a third provider; and a single one proves nothing."""
    pool = saying(OTHER, OTHER)
    conclusion, evidence, shortfall = judged(pool)
    assert (conclusion, shortfall) == (WRONG, 1000)
    assert evidence.count(OTHER) == 2
    barred = [one["value"] for one in pool.submitted[1]["constraints"] if "equals" in one]
    assert barred == [address_text(PROVIDER), f"0x{0x101:040x}"]
    assert judged(saying(OTHER), agree=1)[0] is WRONG


@pytest.mark.parametrize(
    ("digests", "told"),
    [
        ((OTHER, "dd" * 32), "Each run comes to another file"),
        ((OTHER, None), "Nobody ran it in 30 s: No node takes it."),
        ((None,), "Nobody ran it"),
        (("no digest",), "logs no digest"),
    ],
)
def test_without_agreement_nobody_can_say(digests: tuple[str | None, ...], told: str) -> None:
    """The other one may be the liar, or not deterministic at all; what hangs is stopped."""
    pool = saying(*digests)
    conclusion, evidence, _ = judged(pool)
    assert (conclusion, told in evidence) == (UNKNOWN, True), evidence
    assert len(pool.stopped) == digests.count(None)


def test_a_liar_in_between_does_not_harm_the_honest() -> None:
    """Another provider's node answers wrongly, the next one rightly: the piece is right."""
    assert judged(saying(OTHER, KEY))[0] is RIGHT


def test_a_run_on_the_same_provider_does_not_count() -> None:
    """Whatever the pool was asked for: where it ran is looked at."""
    conclusion, evidence, _ = judged(saying(KEY, on=address_text(PROVIDER)))
    assert conclusion is UNKNOWN
    assert "again" in evidence


def test_another_image_is_not_compared() -> None:
    """A name of an image may have come to mean another one."""
    there = allocation("a" * 32, address_text(NODE), image="sha256:1")
    pool = FakePool([task(SPEC, "a" * 32, there)], [[KEY]], image="sha256:2")
    assert judged(pool)[:2] == (
        UNKNOWN,
        "The run was of another image: name images by their digests.",
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": {}}, "does not say work-judge=re-execution"),
        ({"work": {"metric": "done"}}, "no digest of a file"),
        ({"work": {"file": "/w.json", "key": "0x" + KEY}}, "no digest of a file"),
        ({"secrets": {"digest": "ab" * 32}}, "it has secrets"),
        ({"mounts": [{"kind": "volume", "target": "/v", "source": "v"}]}, "it has volumes"),
    ],
)
def test_what_cannot_be_compared_is_never_wrong(change: dict[str, Any], told: str) -> None:
    """Alone it is unknown; beside a task that was compared it may be what is behind the piece."""
    pool = FakePool([task({**SPEC, **change})], [])
    conclusion, evidence, _ = judged(pool)
    assert (conclusion, told in evidence) == (UNKNOWN, True), evidence
    both = FakePool([task(SPEC), task({**SPEC, **change}, "b" * 32)], [[OTHER], [OTHER]])
    assert judged(both)[:2] == (
        UNKNOWN,
        "Another task, which cannot be compared, may be behind it.",
    )


def test_no_task_behind_it_is_no_proof() -> None:
    """Agents forget tasks. A copy elsewhere, or one that failed, is not behind the piece."""
    elsewhere = allocation("a" * 32, "0x" + "44" * 20)
    failed = allocation("a" * 32, address_text(NODE), "failed")
    for copy in (elsewhere, failed):
        conclusion, evidence, _ = judged(FakePool([task(SPEC, "a" * 32, copy)], []))
        assert conclusion is UNKNOWN
        assert "know of no task" in evidence


def test_too_many_units_are_wrong_in_part() -> None:
    """The file is right; of 16 units, 12 were done. Where nobody says how many, nobody can say."""
    assert judged(saying(KEY), units=16)[::2] == (WRONG, 250)
    free = {**SPEC, "work": {"file": "/w.json"}}
    told = [['{"units": 3}', KEY]]
    assert judged(FakePool([task(free)], list(told)))[::2] == (WRONG, 750)
    assert judged(FakePool([task(free)], [[KEY]]))[0] is UNKNOWN


def test_the_agents_of_another_pool_are_a_mistake() -> None:
    """The judge says so, instead of judging."""
    with pytest.raises(Misconfigured, match="The agents are of pool 8, not 7"):
        judged(saying(KEY, pool_id=8))


def test_lines_are_read_from_the_end() -> None:
    """The last digest counts, and the last units; of each, only what is nothing else."""
    lines = [f"{OTHER}  /a".encode(), KEY.encode() + b"\n", b"x" + KEY.encode(), b"", b'{"units":']
    assert digest_in(lines) == bytes.fromhex(KEY)
    assert digest_in([b"zz" * 32]) is None
    assert units_in([b'{"units": 3}', b'{"units": true}', b'{"units": -1}', *lines]) == 3
    assert units_in([b"[" * 100_000 + b'"units"']) is None


def test_a_run_elsewhere_is_a_specification() -> None:
    """Whatever the task's own says: what is left out is left out, and the rest is taken over."""
    spec = spec_elsewhere(task(SPEC), work(), [address_text(PROVIDER)])
    assert (spec["image"], spec["command"]) == (SPEC["image"], SPEC["command"])
    assert spec["name"] == f"judge-{KEY[:12]}-1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs agents, key, passphrase_file"),
        ({"agents": "http://127.0.0.1:1", "key": "k"}, "needs agents, key, passphrase_file"),
        ({"agent": "x"}, "does not know 'agent'"),
        ({"agree": "0"}, "agree of the judge re-execution is a number from 1 to 5"),
        ({"patience_s": "soon"}, "patience_s of the judge re-execution is a number"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, str], told: str) -> None:
    """Before anything is asked or signed."""
    if set(options) <= {"agree", "patience_s"} and options:
        options = {
            "agents": str(tmp_path),
            "key": str(tmp_path / "key"),
            "passphrase_file": str(tmp_path / "pass"),
            **options,
        }
    with pytest.raises(Misconfigured, match=told):
        make(options)
