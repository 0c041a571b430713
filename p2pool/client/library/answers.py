"""What agents answer, as typed records. A key that an answer has beyond these is passed over, since
later versions add some; one that it lacks is its sender's fault.

States are lower-case words; times are Unix milliseconds, 0 for never.
"""

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import attrs

from p2pool.client.errors import not_an_agent
from p2pool.model.machine.hardware import FreeResources, Hardware, Load

T = TypeVar("T")

LIVING = ("pending", "running", "stopping")
"""The states of a task that has not ended."""


@attrs.frozen(kw_only=True)
class Allocation:
    """One copy of a task; `id` is `<task id>.<replica>`. `known` false: nobody hears its node, and
    the state is what it was at `heard_ms`."""

    id: str
    task_id: str
    task_name: str
    replica: int
    attempt: int
    state: str
    node_id: str | None
    gpus: tuple[str, ...]
    reason: str
    exit_code: int | None
    oom_killed: bool
    image_digest: str
    changed_at_ms: int
    health: str
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    known: bool = True
    heard_ms: int = 0

    @property
    def runs(self) -> bool:
        """Whether it runs, as far as anybody can tell."""
        return self.state == "running" and self.known


@attrs.frozen(kw_only=True)
class NodeRefusal:
    """A node that refused to start a task, and gets none of it before `until_ms`."""

    node_id: str
    reason: str
    times: int
    lasting: bool
    until_ms: int


@attrs.frozen(kw_only=True)
class Task:
    """A task with its copies. `state`: pending, running, stopping, or how it ended: succeeded,
    failed, stopped. `spec`: what was signed, without defaults."""

    task_id: str
    name: str
    image: str
    signer: str
    state: str
    stop_requested: bool
    submitted_at_ms: int
    spec: dict[str, Any]
    allocations: tuple[Allocation, ...]
    refusals: tuple[NodeRefusal, ...] = ()

    @property
    def replicas(self) -> int:
        """How many copies it is to have."""
        said = self.spec.get("replicas", 1)
        return said if type(said) is int else 1

    @property
    def ended(self) -> bool:
        """Whether it has ended for good."""
        return self.state not in LIVING

    @property
    def started(self) -> bool:
        """Whether all its copies run, or have done their work."""
        copies = self.allocations
        done = [one for one in copies if one.runs or one.state == "succeeded"]
        return len(copies) >= self.replicas and len(done) == len(copies)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why copies are as they are, each reason once."""
        return tuple(dict.fromkeys(one.reason for one in self.allocations if one.reason))


@attrs.frozen(kw_only=True)
class Node:
    """A machine of the pool: `membership` is the chain's word, `reachability` the pool's, `intent`
    its owner's."""

    node_id: str
    provider: str
    membership: str
    reachability: str
    intent: str
    eligible: bool
    reason: str
    role: str
    leader: bool
    agent_version: str
    last_heard_ms: int
    hardware: Hardware | None
    free: FreeResources | None
    load: Load
    allocations: int


@attrs.frozen(kw_only=True)
class Pool:
    """The pool as a whole. `tasks`: how many are in which state."""

    chain_id: int
    contract: str
    pool_id: int
    name: str
    status: str
    creator: str | None
    manager: str | None
    members: int
    nodes_healthy: int
    nodes_eligible: int
    gpus: int
    gpus_free: int
    tasks: dict[str, int]
    settings: dict[str, str]
    leader: str | None


@attrs.frozen(kw_only=True)
class Accepted:
    """A request is committed. `duplicate`: it had been before; `replicated`: it is on more than one
    disk."""

    action: str
    task_id: str | None
    node_id: str | None
    setting: str | None
    index: int
    leader: str | None
    replicated: bool
    duplicate: bool


@attrs.frozen(kw_only=True)
class Metric:
    """The last value of a number that a copy reports."""

    name: str
    value: float
    at_ms: int


@attrs.frozen(kw_only=True)
class CopyMetrics:
    """What one copy reported. `problem`: why its node gave no answer, empty if it did."""

    allocation: str
    node_id: str | None
    metrics: tuple[Metric, ...]
    refused_lines: int
    problem: str


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened in the pool. `id` is EPOCH.INDEX.NUMBER, the same at every agent."""

    id: str
    at_ms: int
    kind: str
    subject: str
    text: str
    details: dict[str, Any] = attrs.field(factory=dict)

    @property
    def is_gap(self) -> bool:
        """Whether events up to this id are lost: read how the pool is now, then go on."""
        return self.kind == "gap"


@attrs.frozen(kw_only=True)
class LogLine:
    """A line that a copy wrote, without its end. `whole` false: more of it follows, or never came.
    `after_gap`: lines before it may be missing."""

    replica: int
    attempt: int
    stream: str
    at_ms: int
    data: bytes
    whole: bool = True
    after_gap: bool = False

    @property
    def text(self) -> str:
        """The line as text; bytes that are no UTF-8 are shown as escapes."""
        return self.data.decode("utf-8", "backslashreplace")


@attrs.frozen(kw_only=True)
class Quota:
    """What the tasks of a delegate may use at once, all together. None: no limit."""

    max_gpus: int | None
    max_cpu_milli: int | None
    max_replicas: int | None
    max_priority: int | None
    name_prefix: str | None


@attrs.frozen(kw_only=True)
class QuotaUse:
    """What an account's copies use now, by all that one grantor gave it."""

    gpus: int
    cpu_milli: int
    replicas: int


@attrs.frozen(kw_only=True)
class Grant:
    """A delegation by which the pool has tasks, what it allows, and what is in use. `state`:
    in-force, not-yet, expired, revoked, void, or unknown. Without a grantor: an account whose
    delegations were revoked, and that has no task."""

    id: str
    delegate: str
    grantor: str | None
    scope: str | None
    state: str
    not_before_s: int | None
    not_after_s: int | None
    revoked_before_s: int | None
    quota: Quota | None
    used: QuotaUse
    tasks: int
    tasks_ended: int


class _Misread(Exception):
    """A value is of another kind than an agent sends."""


def read(cls: type[T], value: object, url: str = "") -> T:
    """The record in a JSON value; `Misconfigured` if no agent would answer so."""
    try:
        return cast(T, _record(cls, value))
    except _Misread as error:
        raise not_an_agent(f"its answer is no {cls.__name__} ({error})", url) from error


def _record(cls: type, value: object) -> object:
    if not isinstance(value, Mapping):
        raise _Misread(f"{cls.__name__} is no object")
    given: dict[str, Any] = {}
    for name, hint, needed in _fields(cls):
        if name in value:
            given[name] = _value(hint, value[name], name)
        elif needed:
            raise _Misread(f"it has no {name!r}")
    return cls(**given)


@cache
def _fields(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type and whether it has no default, of each field."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (one.name, hints[one.name], one.default is attrs.NOTHING) for one in attrs.fields(cls)
    )


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (one for one in get_args(hint) if one is not type(None))
        return _value(hint, value, name)
    if origin is tuple:
        if not isinstance(value, list):
            raise _Misread(f"{name} is no list")
        return tuple(_value(get_args(hint)[0], one, name) for one in value)
    if attrs.has(hint):
        return _record(hint, value)
    wanted = origin or hint
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted and not (wanted is dict and isinstance(value, dict)):
        raise _Misread(f"{name} is no {wanted.__name__}")
    return value
