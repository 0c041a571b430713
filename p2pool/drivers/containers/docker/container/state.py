"""Turns the engine's record of a container into a `ContainerStatus`. Pure."""

from collections.abc import Mapping
from typing import Any

from p2pool.drivers.containers.docker.container.labels import read_labels
from p2pool.drivers.containers.docker.engine.answers import fields, number, part, text
from p2pool.drivers.containers.docker.engine.timestamps import at_ms
from p2pool.model.ports.runtime import ContainerState, ContainerStatus, RuntimeScope
from p2pool.model.states import Health

STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "removing": ContainerState.EXITED,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.DEAD,
}

HEALTH = {
    "starting": Health.STARTING,
    "healthy": Health.HEALTHY,
    "unhealthy": Health.UNHEALTHY,
}


def status_of(scope: RuntimeScope, record: Mapping[str, Any]) -> ContainerStatus | None:
    """The status in an inspection; None for a container that is not ours. RuntimeUnavailable: the
    record has no state."""
    said = read_labels(scope, part(record, "Config").get("Labels"))
    if said is None:
        return None
    given = fields(record.get("State"))
    state = STATES.get(text(given.get("Status")), ContainerState.DEAD)
    started_ms = at_ms(text(given.get("StartedAt")))
    ended = state in (ContainerState.EXITED, ContainerState.DEAD)
    return ContainerStatus(
        allocation=said.allocation,
        attempt=said.attempt,
        token=said.token,
        spec_hash=said.spec_hash,
        state=state,
        exit_code=number(given.get("ExitCode")) if ended else None,
        oom_killed=bool(given.get("OOMKilled")) if ended else False,
        started_at_ms=started_ms,
        # The engine records the start after the fact, so a short run's end can come before it.
        finished_at_ms=max(started_ms, at_ms(text(given.get("FinishedAt")))) if ended else 0,
        image_digest=said.image_digest or text(record.get("Image")),
        gpus=said.gpus,
        error=text(given.get("Error")),
        health=HEALTH.get(text(part(given, "Health").get("Status")), Health.NONE),
    )
