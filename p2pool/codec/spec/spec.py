"""Task specifications: RFC 8785 JSON as it was signed <-> `TaskSpec`.

The text is part of what an account signs, so there is one form of it: the canonical JSON of
RFC 8785, with absent keys meaning their defaults. `parse_spec` takes only that form and finds
all problems of a specification at once; `spec_json` makes the form from a `TaskSpec`, or
from a mapping that a user wrote. The hash is over the text, never over an expansion of it.

Keys are those of the example in `p2pool task run --help`:
    {"name": "train", "image": "pytorch:2", "command": ["python", "t.py"], "env": {"LR": "0.1"},
     "resources": {"cpu_milli": 4000, "memory_bytes": 8589934592, "gpu": {"count": 2}},
     "replicas": 2, "restart": {"mode": "on-failure"}, "labels": {"team": "a"}}
Times and sizes are integers with the unit last, so accounts never sign floats.

A key that came with a later feature level is declared by its field (`features.since`), and refused
in a pool below that level.
"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, NoReturn, get_args

import attrs
import rfc8785

from p2pool.codec.digests import digest
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.reader import Reader
from p2pool.codec.spec import rules
from p2pool.codec.spec.reserved_keys import unheeded_keys
from p2pool.codec.spec.secrets import read_secrets, secret_contradictions, secrets_plain
from p2pool.codec.spec.work import read_work, work_contradictions
from p2pool.model import features, limits
from p2pool.model.errors import BadSpec
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import Digest
from p2pool.model.tasks.secrets import TaskSecrets
from p2pool.model.tasks.spec import (
    Constraint,
    GpuRequest,
    Mount,
    MountKind,
    OnDisconnect,
    PublishedPort,
    PullPolicy,
    Resources,
    RestartMode,
    RestartPolicy,
    TaskSpec,
)

_RENAMED = {"environment": "env"}
_MAPPINGS = frozenset({"environment", "labels"})


def parse_spec(spec_json: str, level: FeatureLevel) -> TaskSpec:
    """The specification in a text of RFC 8785 form, for a pool of a feature level.

    Raises `BadSpec`; its `problems` list all that is wrong, one sentence each with the path of
    the key. Whether it does depends on the text and the level alone: replicas of different
    versions apply the same text, so a key of a later level is refused like one that nobody knows.
    """
    value = _load(spec_json)
    if _canonical(value) != spec_json:
        raise _bad(["is not in RFC 8785 form (sorted keys, no spaces): use `p2pool task run`"])
    return _spec(value, level)


def check_devices(spec: TaskSpec) -> None:
    """`BadSpec`: it chooses devices of the machine by itself. Asked where a task comes in and where
    it starts, and not where it is applied."""
    if problems := list(rules.device_choices(spec)):
        raise _bad(problems)


def check_heeded(spec: TaskSpec) -> None:
    """`BadSpec`: it says how to restart, and that it never is. Asked where a task comes in: pools
    hold tasks that were taken before this was refused."""
    if problems := list(rules.vain_restarts(spec)):
        raise _bad(problems)


def spec_json(spec: TaskSpec | Mapping[str, Any]) -> str:
    """The canonical text of a specification, defaults left out; `BadSpec` if it is bad.

    A mapping is the user's form: the same keys, in any order, with or without defaults.
    Every key that is known here is taken: whether the pool has it is asked where it is submitted.
    What would do nothing is refused, whatever its value (`reserved_keys`).
    """
    parsed = spec if isinstance(spec, TaskSpec) else _spec(_users(spec), features.newest())
    if not isinstance(spec, TaskSpec):
        check_sizes(parsed)
    check_devices(parsed)
    check_heeded(parsed)
    plain = spec_dict(parsed)
    if problems := unheeded_keys(spec if isinstance(spec, Mapping) else plain):
        raise _bad(problems)
    text = _canonical(plain)
    check_image(parse_spec(text, features.newest()).image)
    return text


def check_sizes(spec: TaskSpec) -> None:
    """`BadSpec` for sizes that nobody means. For whoever submits and whoever takes a submission:
    what a pool holds from earlier stays readable."""
    if problems := list(rules.too_small(spec)):
        raise _bad(problems)


def _users(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The user's form with what may be written in several ways: a GPU's model in any case."""
    wanted = spec.get("resources")
    gpu = wanted.get("gpu") if isinstance(wanted, dict) else None
    model = gpu.get("model") if isinstance(gpu, dict) else None
    if not isinstance(wanted, dict) or not isinstance(gpu, dict) or not isinstance(model, str):
        return spec
    return {**spec, "resources": {**wanted, "gpu": {**gpu, "model": model.lower()}}}


def spec_hash(text: str) -> Digest:
    """SHA-256 of a specification's text."""
    return digest(text.encode())


def check_image(image: str) -> None:
    """Refuse with `BadSpec` an image that no engine would pull."""
    if problem := rules.unpullable(image):
        raise _bad([f"image {problem}"])


def spec_dict(spec: TaskSpec) -> dict[str, Any]:
    """A specification as plain JSON values, defaults left out."""
    plain = _plain(spec)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    """JSON value of a part of a specification."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, TaskSecrets) and (names := secrets_plain(value)) is not None:
        return names
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if not attrs.has(type(value)):
        return value
    result: dict[str, Any] = {}
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if field.default is attrs.NOTHING or item != field.default:
            plain = dict(item) if field.name in _MAPPINGS else _plain(item)
            result[_RENAMED.get(field.name, field.name)] = plain
    return result


def _bad(problems: list[str]) -> BadSpec:
    """The error for these problems."""
    listed = "; ".join(problems)
    return BadSpec(f"The task specification is not good: {listed}.", problems=tuple(problems))


def _load(text: str) -> Any:
    """The JSON value of a text of bounded length."""
    if len(text) > limits.SPEC_JSON_MAX_BYTES:
        raise _bad([f"is longer than {limits.SPEC_JSON_MAX_BYTES} bytes"])
    if too_deep(text):
        raise _bad(["is nested too deeply"])
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise _bad([f"is not JSON: {error}"]) from error
    except RecursionError as error:
        raise _bad(["is nested too deeply"]) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _canonical(value: Any) -> str:
    """The RFC 8785 form of a JSON value."""
    try:
        text = rfc8785.dumps(value)
    except ValueError as error:  # includes its CanonicalizationError
        raise _bad([f"has no RFC 8785 form: {error}"]) from error
    except RecursionError as error:
        raise _bad(["is nested too deeply"]) from error
    if len(text) > limits.SPEC_JSON_MAX_BYTES:
        raise _bad([f"is longer than {limits.SPEC_JSON_MAX_BYTES} bytes"])
    return str(text, "utf-8")


def _spec(value: Any, level: FeatureLevel) -> TaskSpec:
    """The specification in a JSON value, which reports all problems together."""
    problems: list[str] = []
    reader = Reader(value, "", problems, _later_keys(level))
    spec = _task(reader)
    reader.finish()
    if not problems:
        problems.extend(rules.contradictions(spec))
        problems.extend(secret_contradictions(spec))
        problems.extend(work_contradictions(spec))
        problems.extend(rules.too_new(spec, level))
    if problems:
        raise _bad(problems)
    return spec


@cache
def _later_keys(level: FeatureLevel) -> Mapping[str, str]:
    """By the path of each key that came after a level: what is told to who uses it."""
    return {
        path: f"needs feature level {since}, and the pool is at {level}"
        for path, since in _keys_since(TaskSpec, "")
        if since > level
    }


def _keys_since(cls: type, path: str) -> Iterator[tuple[str, FeatureLevel]]:
    """Path and level of each key of a table, and of the tables in it."""
    for field in attrs.fields(cls):
        place = path + _RENAMED.get(field.name, field.name)
        yield place, features.level_of(field)
        for inner in _tables_in(field.type):
            yield from _keys_since(inner, f"{place}.")


def _tables_in(hint: Any) -> Iterator[type]:
    """The classes of tables that a field holds."""
    if isinstance(hint, type) and attrs.has(hint):
        yield hint
    for inner in get_args(hint):
        yield from _tables_in(inner)


def _task(r: Reader) -> TaskSpec:
    """The top level."""
    d = TaskSpec(name="", image="")
    return TaskSpec(
        name=r.text("name", rule=rules.name_rule),
        image=r.text("image", rule=rules.image_rule),
        command=r.texts("command", limits.COMMAND_ARGUMENTS_MAX, rule=rules.argument_rule),
        entrypoint=r.texts("entrypoint", limits.COMMAND_ARGUMENTS_MAX, rule=rules.argument_rule),
        environment=r.pairs(
            "env", limits.ENVIRONMENT_MAX, rules.env_name_rule, rules.argument_rule
        ),
        secrets=read_secrets(r),
        resources=r.table("resources", _resources, d.resources),
        replicas=r.number("replicas", d.replicas, 1, limits.REPLICAS_MAX),
        system=r.flag("system", d.system),
        gang=r.flag("gang", d.gang),
        constraints=r.tables("constraints", limits.CONSTRAINTS_MAX, _constraint),
        mounts=r.tables("mounts", limits.MOUNTS_MAX, _mount),
        ports=r.tables("ports", limits.PORTS_MAX, _port),
        restart=r.table("restart", _restart, d.restart),
        deadline_s=r.number("deadline_s", d.deadline_s, 0, limits.TASK_TIME_MAX_S),
        stop_grace_s=r.number("stop_grace_s", d.stop_grace_s, 0, limits.STOP_GRACE_MAX_S),
        # -1: wait for a lost node forever.
        reconnect_window_s=r.number(
            "reconnect_window_s", d.reconnect_window_s, -1, limits.TASK_TIME_MAX_S
        ),
        on_disconnect=r.choice("on_disconnect", OnDisconnect, d.on_disconnect),
        run_until_s=r.number("run_until_s", d.run_until_s, 1, limits.TASK_TIME_MAX_S),
        priority=r.number("priority", d.priority, 0, limits.PRIORITY_MAX),
        labels=r.pairs("labels", limits.LABELS_MAX, rules.label_name_rule, rules.argument_rule),
        pull=r.choice("pull", PullPolicy, d.pull),
        read_only=r.flag("read_only", d.read_only),
        init=r.flag("init", d.init),
        requirements=r.text("requirements", d.requirements, rule=rules.requirements_rule),
        work=r.table("work", read_work, d.work),
    )


def _resources(r: Reader) -> Resources:
    d = Resources()
    return Resources(
        cpu_milli=r.number("cpu_milli", d.cpu_milli, 1, limits.CPU_MILLI_MAX),
        memory_bytes=r.number(
            "memory_bytes", d.memory_bytes, limits.TASK_MEMORY_MIN_BYTES, limits.RESOURCE_MAX_BYTES
        ),
        shm_bytes=r.number("shm_bytes", d.shm_bytes, 0, limits.RESOURCE_MAX_BYTES),
        disk_bytes=r.number("disk_bytes", d.disk_bytes, 0, limits.RESOURCE_MAX_BYTES),
        gpu=r.table("gpu", _gpu, d.gpu),
        swap_bytes=r.number("swap_bytes", d.swap_bytes, 0, limits.RESOURCE_MAX_BYTES),
        pids=r.number("pids", d.pids, 1, limits.TASK_PIDS_MAX),
    )


def _gpu(r: Reader) -> GpuRequest:
    d = GpuRequest()
    return GpuRequest(
        count=r.number("count", d.count, 0, limits.GPUS_PER_NODE_MAX),
        model=r.text("model", d.model, rule=rules.gpu_model_rule),
        memory_min_bytes=r.number(
            "memory_min_bytes", d.memory_min_bytes, 0, limits.RESOURCE_MAX_BYTES
        ),
    )


def _constraint(r: Reader) -> Constraint:
    return Constraint(
        attribute=r.word("attribute", rules.ATTRIBUTES),
        value=r.text("value", rule=rules.argument_rule),
        equals=r.flag("equals", True),
    )


def _mount(r: Reader) -> Mount:
    return Mount(
        kind=r.choice("kind", MountKind, None),
        target=r.text("target", rule=rules.target_rule),
        source=r.text("source", "", rule=rules.source_rule),
        read_only=r.flag("read_only", False),
        size_bytes=r.number("size_bytes", 0, 0, limits.RESOURCE_MAX_BYTES),
        # -1: as long as the node's owner keeps them.
        keep_s=r.number("keep_s", -1, -1, limits.VOLUME_KEEP_MAX_S),
    )


def _port(r: Reader) -> PublishedPort:
    return PublishedPort(
        container=r.number("container", None, 1, limits.PORT_MAX),
        host=r.number("host", 0, 0, limits.PORT_MAX),
        protocol=r.word("protocol", ("tcp", "udp"), "tcp"),
    )


def _restart(r: Reader) -> RestartPolicy:
    d = RestartPolicy()
    return RestartPolicy(
        mode=r.choice("mode", RestartMode, d.mode),
        attempts=r.number("attempts", d.attempts, 0, limits.RESTART_ATTEMPTS_MAX),
        backoff_ms=r.number(
            "backoff_ms",
            d.backoff_ms,
            limits.RESTART_BACKOFF_MIN_MS,
            limits.RESTART_BACKOFF_MAX_MS,
        ),
        on_unhealthy=r.flag("on_unhealthy", d.on_unhealthy),
    )
