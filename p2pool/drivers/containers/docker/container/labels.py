"""Labels and names of containers: their owner, and which attempt of which allocation they are.

A container is ours only if it carries the whole label set of its scope: chain, contract, pool and
node. Its name has the same parts, so a second start of an attempt always finds the first one.
"""

from collections.abc import Mapping

import attrs

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
OWNERS = f"{PREFIX}.label."
"""What the names of a task's own labels begin with."""


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
    given = labels or {}
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
        }
    )


def read_labels(scope: RuntimeScope, labels: Mapping[str, str] | None) -> Labelled | None:
    """The contents of the labels, or None for a container that is not (wholly) of this scope."""
    given = labels or {}
    if not is_of(scope, labels):
        return None
    try:
        task = TaskId(bytes.fromhex(given[COPY]))
        spec = Digest(bytes.fromhex(given[f"{PREFIX}.spec"]))
        epoch, term, index = (int(part) for part in given[f"{PREFIX}.token"].split("."))
        name = AllocationId(task, int(given[f"{PREFIX}.replica"]))
        attempt = int(given[f"{PREFIX}.attempt"])
    except (KeyError, ValueError):
        return None
    if len(task) != TASK_ID_BYTES or len(spec) != DIGEST_BYTES:
        return None
    digest = given.get(f"{PREFIX}.image", "")
    return Labelled(
        allocation=name,
        attempt=attempt,
        token=Token(epoch, term, index),
        spec_hash=spec,
        gpus=gpus_of(given),
        image_digest=digest,
    )


def gpus_of(labels: Mapping[str, str] | None) -> tuple[str, ...]:
    """The GPUs that a container was given, by any agent."""
    return tuple(uuid for uuid in (labels or {}).get(GPUS, "").split(",") if uuid)


def name_of(scope: RuntimeScope, allocation: AllocationId, attempt: int) -> str:
    """The unique name of an attempt's container on an engine."""
    return f"{task_name(scope, allocation.task_id)}-{allocation.replica}-{attempt}"


def task_name(scope: RuntimeScope, task_id: TaskId) -> str:
    """What the names of all things of a task begin with, and the name of its network."""
    pool = f"{scope.pool.chain_id}-{scope.pool.contract.hex()[:8]}-{scope.pool.pool_id}"
    return f"{PREFIX}-{pool}-{scope.node_id.hex()[:12]}-{task_id.hex()}"
