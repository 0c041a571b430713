"""The networks of a node's tasks on a Docker Engine: one for each task, made when its first copy
comes, and removed with its last.

Intuition: copies of one task reach each other over a bridge of their own. Its name follows from the
task, so a start that was interrupted finds what it began.

Invariants: a network in use is never removed; two that start at once make one. Its subnet overlaps
no route of the engine's machine, and no other network of the engine.
"""

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Network, ip_network
from typing import Any

import trio
from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.drivers.containers.docker.container.labels import (
    PREFIX,
    is_of,
    scope_labels,
    task_name,
    texts_of,
)
from p2pool.drivers.containers.docker.engine.answers import objects, part, rows_of
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import explanation, other_error
from p2pool.drivers.containers.docker.networks.host_view import HostView
from p2pool.drivers.containers.docker.networks.subnets import first_free, prefix_for
from p2pool.model import limits
from p2pool.model.errors import NodeExhausted
from p2pool.model.ids import TaskId
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope

TASK = f"{PREFIX}.network"
OVERLAPS = ("Pool overlaps", "overlaps with")
IN_USE = (403, 409)


class TaskNetworks:
    """The networks of one scope on one engine."""

    def __init__(
        self, scope: RuntimeScope, engine: DockerClient, ranges: tuple[IPv4Network, ...]
    ) -> None:
        """Makes no call yet. `ranges`: where subnets may lie."""
        self._scope, self._ask = scope, engine.ask
        self._ranges = ranges
        self.door = trio.Lock()
        """Held from the search for a network until a sandbox is on it, and while one is removed."""

    async def ensure(self, plan: ContainerPlan, host: HostView) -> str:
        """The identifier of the task's network, made if it is missing. Call it with the door held.

        NodeExhausted: there is no room for it here.
        """
        task = plan.allocation.task_id
        everything = await self._networks()
        for one in everything:
            if self._task_of(one) == task.hex():
                return str(one["Id"])
        taken = [*host.routes, *_subnets(everything)]
        replicas = 1 if plan.spec.system else plan.spec.replicas
        for _ in range(limits.CREATE_TRIES_MAX):
            subnet = first_free(self._ranges, taken, prefix_for(replicas))
            if subnet is None:
                raise NodeExhausted(
                    "No subnet is left for the network of another task.",
                    hint="Name ranges that nothing else uses in [network] subnets.",
                )
            try:
                return await self._create(task, subnet)
            except APIError as error:
                if not any(part in explanation(error) for part in OVERLAPS):
                    raise other_error(error) from error
                taken.append(subnet)
        raise NodeExhausted(
            "The Docker Engine takes no subnet for the network of another task.",
            hint="Name ranges that nothing else uses in [network] subnets.",
        )

    async def _create(self, task: TaskId, subnet: IPv4Network) -> str:
        body = {
            "Name": task_name(self._scope, task),
            "CheckDuplicate": True,
            "Driver": "bridge",
            "Internal": False,
            "EnableIPv6": False,
            "Attachable": False,
            "IPAM": {
                "Driver": "default",
                "Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}],
            },
            "Options": {
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": "true",
            },
            "Labels": scope_labels(self._scope) | {TASK: task.hex()},
        }

        def create(client: Any) -> Any:
            answer = client._post_json(client._url("/networks/create"), data=body)
            return client._result(answer, json=True)

        return str((await self._ask(create))["Id"])

    def _task_of(self, row: Mapping[str, Any]) -> str | None:
        """Whose network it is, in hex; None: it is none of ours."""
        given = texts_of(row.get("Labels"))
        return given.get(TASK) if is_of(self._scope, given) else None

    async def _networks(self) -> list[dict[str, Any]]:
        try:
            return await self._ask(lambda c: rows_of(c.networks()))
        except APIError as error:
            raise other_error(error) from error

    async def sweep(self, task: TaskId | None = None) -> None:
        """Remove our networks that hold no sandbox any longer; of one task, or of all."""
        async with self.door:
            for one in await self._networks():
                named = self._task_of(one)
                if named and (task is None or named == task.hex()):
                    await self._remove_unused(str(one["Id"]))

    async def _remove_unused(self, network: str) -> None:
        """Sandboxes that do not run count too: they may be started again."""
        filters = {"network": [network]}
        try:
            if not await self._ask(lambda c: c.containers(all=True, filters=filters)):
                await self._ask(lambda c: c.remove_network(network))
        except NoSuch:
            return
        except APIError as error:
            if error.status_code not in IN_USE:
                raise other_error(error) from error


def _subnets(networks: list[dict[str, Any]]) -> list[IPv4Network]:
    """What the engine's networks hold; a driver's own may say anything of theirs."""
    found = []
    for one in networks:
        for config in objects(part(one, "IPAM").get("Config")):
            with suppress(ValueError):
                subnet = ip_network(str(config.get("Subnet")), strict=False)
                if isinstance(subnet, IPv4Network):
                    found.append(subnet)
    return found
