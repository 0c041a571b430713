"""Labels and names of containers: their owner, and which attempt of which allocation they are.

A container is ours only if it carries the whole label set of its scope: chain, contract, pool and
node. Its name has the same parts, so a second start of an attempt always finds the first one.

Invariant: labels are read as they are written, so nobody's look-alike gives a number that the log
does not take; whoever may use the engine can write any labels.
"""

import re
from collections.abc import Mapping

import attrs

from p2pool.codec.json.hex import unhex
from p2pool.model.ids import (
    DIGEST_BYTES,
    TASK_ID_BYTES,
    AllocationId,
    Digest,
    TaskId,
    Token,
)
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope

PREFIX = "p2pool"
GPUS = f"{PREFIX}.gpus"
COPY = f"{PREFIX}.task"
SECRETS = f"{PREFIX}.secrets"
"""On a copy that cannot run without its secrets: their names."""
OWNERS = f"{PREFIX}.label."
"""What the names of a task's own labels begin with."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


@attrs.frozen
class Labelled:
    """What a container's labels say."""

    allocation: AllocationId
    attempt: int
    token: Token
    spec_hash: Digest
    gpus: tuple[str, ...]
    image_digest: str


def scope_labels(scope: RuntimeScope) -> dict[str, str]:
    """The labels by which a node recognises its own containers."""
    return {
        f"{PREFIX}.chain": str(scope.pool.chain_id),
        f"{PREFIX}.contract": scope.pool.contract.hex(),
        f"{PREFIX}.pool": str(scope.pool.pool_id),
        f"{PREFIX}.node": scope.node_id.hex(),
    }


def scope_filter(scope: RuntimeScope) -> list[str]:
    """The same as a listing is asked for them."""
    return [f"{key}={value}" for key, value in scope_labels(scope).items()]


def is_of(scope: RuntimeScope, labels: Mapping[str, str] | None) -> bool:
    """Whether something of the engine's has all labels of the scope."""
    given = texts_of(labels)
    return all(given.get(key) == value for key, value in scope_labels(scope).items())


def labels_of(scope: RuntimeScope, plan: ContainerPlan, digest: str = "") -> dict[str, str]:
    """All labels of a container, with the digest that its image's name stood for."""
    token = plan.token
    # Under a prefix of ours: a bare one could steer whatever else on the machine obeys labels.
    given = {f"{OWNERS}{name}": value for name, value in plan.spec.labels}
    return (
        given
        | scope_labels(scope)
        | {
            COPY: plan.allocation.task_id.hex(),
            f"{PREFIX}.replica": str(plan.allocation.replica),
            f"{PREFIX}.attempt": str(plan.attempt),
            f"{PREFIX}.token": f"{token.epoch}.{token.term}.{token.index}",
            f"{PREFIX}.spec": plan.spec_hash.hex(),
            GPUS: ",".join(plan.gpus),
            f"{PREFIX}.image": digest,
            SECRETS: ",".join(one.name for one in plan.secrets),
        }
    )


def read_labels(scope: RuntimeScope, labels: Mapping[str, str] | None) -> Labelled | None:
    """The contents of the labels, or None for a container that is not (wholly) of this scope."""
    given = texts_of(labels)
    if not is_of(scope, given):
        return None
    task = unhex(given.get(COPY, ""), TASK_ID_BYTES)
    spec = unhex(given.get(f"{PREFIX}.spec", ""), DIGEST_BYTES)
    token = numbers_of(given.get(f"{PREFIX}.token", ""), ".", 3)
    replica = numbers_of(given.get(f"{PREFIX}.replica", ""), ".", 1)
    attempt = numbers_of(given.get(f"{PREFIX}.attempt", ""), ".", 1)
    if task is None or spec is None or token is None or replica is None or attempt is None:
        return None
    return Labelled(
        allocation=AllocationId(TaskId(task), *replica),
        attempt=attempt[0],
        token=Token(*token),
        spec_hash=Digest(spec),
        gpus=gpus_of(given),
        image_digest=given.get(f"{PREFIX}.image", ""),
    )


def texts_of(labels: object) -> Mapping[str, str]:
    """The labels in an engine's answer that are texts, as all are."""
    if not isinstance(labels, Mapping):
        return {}
    return {name: value for name, value in labels.items() if isinstance(value, str)}


def numbers_of(text: str, between: str, count: int) -> tuple[int, ...] | None:
    """So many plain numbers, as we write them; None for any other text."""
    parts = text.split(between, count)
    if len(parts) != count or not all(map(_NUMBER.fullmatch, parts)):
        return None
    return tuple(map(int, parts))


def gpus_of(labels: Mapping[str, str] | None) -> tuple[str, ...]:
    """The GPUs that a container was given, by any agent."""
    return tuple(uuid for uuid in texts_of(labels).get(GPUS, "").split(",") if uuid)


def needs_secrets(labels: Mapping[str, str] | None) -> bool:
    """Whether a copy was made to be given secrets before it runs."""
    return bool(texts_of(labels).get(SECRETS))


def name_of(scope: RuntimeScope, allocation: AllocationId, attempt: int) -> str:
    """The unique name of an attempt's container on an engine."""
    return f"{task_name(scope, allocation.task_id)}-{allocation.replica}-{attempt}"


def task_name(scope: RuntimeScope, task_id: TaskId) -> str:
    """What the names of all things of a task begin with, and the name of its network."""
    pool = f"{scope.pool.chain_id}-{scope.pool.contract.hex()[:8]}-{scope.pool.pool_id}"
    return f"{PREFIX}-{pool}-{scope.node_id.hex()[:12]}-{task_id.hex()}"
