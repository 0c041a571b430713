"""Gives each attempt a network namespace with its rules, and keeps the two together.

Intuition: a copy joins the network of its sandbox. A sandbox that is started anew has a new
namespace without rules, so the rules are written each time, before the copy begins: by `nft` in the
sandbox, which alone has the right to. Whatever ends without the other is noticed when containers
are listed.

Invariants: no copy starts before its rules stand. A copy whose sandbox ended is ended; a sandbox
whose copy ended is ended too, so that its ports are free when the copy's end is told. Steps of one
attempt follow one another.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import IPv4Interface, IPv4Network, ip_address
from typing import Any

import attrs
import trio
from docker.errors import APIError
from docker.errors import NotFound as NoSuch

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.containers.docker.container.labels import (
    name_of,
    read_labels,
    scope_filter,
)
from p2pool.drivers.containers.docker.container.plan import BRIDGE
from p2pool.drivers.containers.docker.engine.answers import record_of, rows_of
from p2pool.drivers.containers.docker.engine.client import DockerClient
from p2pool.drivers.containers.docker.engine.errors import explanation, other_error, start_error
from p2pool.drivers.containers.docker.helper import Helper
from p2pool.drivers.containers.docker.networks.egress_filter import Reach, ruleset
from p2pool.drivers.containers.docker.networks.host_view import (
    LOOK,
    Address,
    HostView,
    read_view,
)
from p2pool.drivers.containers.docker.networks.sandbox import (
    NFT,
    SANDBOX,
    Key,
    sandbox_body,
    sandbox_name,
    sandbox_of,
)
from p2pool.drivers.containers.docker.networks.task_network import TaskNetworks
from p2pool.drivers.containers.docker.secrets.volume import (
    left_volumes,
    remove_volume,
    volumes_of,
)
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import NotFound, P2poolError, RuntimeUnavailable
from p2pool.model.ports.runtime import ContainerPlan, RuntimeScope

log = get_logger(__name__)

ALIVE = ("running", "paused", "restarting")
JOINS = "container:"
TRIAL = IPv4Network("192.0.2.0/29")


class Isolation:
    """The networks of one scope's attempts on one engine."""

    def __init__(
        self, scope: RuntimeScope, engine: DockerClient, helper: Helper, settings: Settings
    ) -> None:
        """Makes no call yet."""
        self._scope, self._ask, self._helper, self._settings = scope, engine.ask, helper, settings
        self._networks = TaskNetworks(scope, engine, settings.subnets)
        self._locks: dict[Key, trio.Lock] = {}
        self._checked = self._swept = False
        self._written: dict[str, frozenset[Address]] = {}
        self._view: HostView | None = None
        self._view_due_s = 0.0

    # --- the machine ------------------------------------------------------------------------------

    async def check(self) -> None:
        """Whether rules can be written here, tried once. RuntimeUnavailable: they cannot."""
        if self._checked:
            return
        with _nodes_fault():
            trial = ruleset(self._reach(TRIAL, (), HostView((), frozenset(), ())))
            deadline_ms = limits.NETWORK_STEP_DEADLINE_MS
            ran = await self._helper.run(
                (NFT, trial), capabilities=("NET_ADMIN",), deadline_ms=deadline_ms
            )
            if ran.exit_code:
                said = ran.stderr.decode(errors="replace").strip()[:200]
                raise RuntimeUnavailable(
                    f"This machine's kernel cannot filter what copies may reach: {said}.",
                    hint="It needs nf_tables. Without a filter tasks reach your network:"
                    " [network] isolation = false.",
                )
            await self._host()
        self._checked = True

    async def _host(self) -> HostView:
        """The network of the engine's machine, looked at now and then."""
        if self._view is None or trio.current_time() >= self._view_due_s:
            with _nodes_fault():
                ran = await self._helper.run(
                    LOOK, of_host=True, deadline_ms=limits.NETWORK_STEP_DEADLINE_MS
                )
            try:
                self._view = read_view(ran.stdout.decode())
            except ValueError as error:
                raise RuntimeUnavailable(
                    f"The network of the engine's machine cannot be read: {error}."
                ) from error
            self._view_due_s = trio.current_time() + limits.HOST_VIEW_INTERVAL_MS / 1000
        return self._view

    def _told(self, host: HostView) -> frozenset[Address]:
        """The machine's addresses without those on tasks' networks, which no rule names singly."""
        many = self._settings.subnets
        return frozenset(one for one in host.addresses if not any(one in each for each in many))

    def _reach(
        self, subnet: IPv4Network, published: Sequence[tuple[int, str]], host: HostView
    ) -> Reach:
        settings = self._settings
        return Reach(
            subnet=subnet,
            gateway=subnet[1],
            ranges=settings.subnets,
            host=self._told(host),
            resolvers=settings.resolvers or host.resolvers,
            opened=settings.egress_opened,
            host_opened=settings.egress_host,
            published=tuple(published),
        )

    # --- one attempt ------------------------------------------------------------------------------

    @asynccontextmanager
    async def held(self, key: Key) -> AsyncGenerator[None, None]:
        """The steps of one attempt, one after another."""
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._locks.pop(key, None)

    async def join(self, plan: ContainerPlan) -> str:
        """The network mode of a new copy: that of its sandbox, which is made but does not run."""
        key = (plan.allocation, plan.attempt)
        name = sandbox_name(self._scope, key)
        host = await self._host() if self._settings.isolation else None
        resolvers = self._settings.resolvers or (host.resolvers if host is not None else ())
        with _nodes_fault():
            image = await self._helper.ready()
        async with self._networks.door:
            with self._swept_later():
                if (there := await self._inspect(name)) is not None:
                    return f"{JOINS}{there['Id']}"
                network = BRIDGE if host is None else await self._networks.ensure(plan, host)
                body = sandbox_body(self._scope, plan, network, [str(one) for one in resolvers])
                body["HostConfig"]["Runtime"] = self._settings.oci_runtime
                try:
                    made = await self._ask(
                        lambda c: c.create_container_from_config(body | {"Image": image}, name)
                    )
                except APIError as error:
                    if (
                        error.status_code == 409
                        and (there := await self._inspect(name)) is not None
                    ):
                        return f"{JOINS}{there['Id']}"
                    raise start_error(error) from error
        return f"{JOINS}{made['Id']}"

    async def up(self, key: Key, copy: Mapping[str, Any], *, fresh: bool = False) -> str:
        """Have the sandbox of a copy run, with its rules; returns its id. `fresh`: nothing that was
        written in it before is in it. NotFound: it is gone for good, and the copy cannot run again.
        A copy that was made without a sandbox needs none, but runs again only where isolation is
        off; so does one whose sandbox is on the engine's own network."""
        mode = str(copy["HostConfig"].get("NetworkMode"))
        if not mode.startswith(JOINS):
            if self._settings.isolation:
                raise NotFound("This copy was made without a network of its own.")
            return ""
        box = await self._inspect(mode.removeprefix(JOINS))
        if box is None or sandbox_of(self._scope, box["Config"].get("Labels")) != key:
            raise NotFound("The sandbox that holds this copy's network is gone.")
        if _on_bridge(box) and self._settings.isolation:
            raise NotFound("This copy was made without a network of its own.")
        name = str(box["Id"])
        if fresh and box["State"]["Status"] in ALIVE:
            await self._act(lambda c: c.stop(name, timeout=0))
            box = await self._inspect(name) or box
        if box["State"]["Status"] not in ALIVE:
            box = await self._start(name) or box
        if not _on_bridge(box):
            with trio.move_on_after(limits.NETWORK_STEP_DEADLINE_MS / 1000) as scope:
                await self._filter(box)
            if scope.cancelled_caught:
                raise RuntimeUnavailable("The rules of a copy's network are not written in time.")
        return name

    async def _start(self, name: str) -> dict[str, Any] | None:
        """Start a sandbox; its record afterwards."""
        answered = False
        try:
            # An answer that got lost tells nothing: whether it runs is read afterwards.
            with suppress(RuntimeUnavailable):
                await self._ask(lambda c: c.start(name))
                answered = True
        except APIError as error:
            said = explanation(error)
            if "network" in said and "not found" in said:
                raise NotFound("The network of this copy's task was removed.") from error
            raise start_error(error) from error
        box, wait_ms = await self._inspect(name), limits.NETWORK_POLL_MIN_MS
        with trio.move_on_after(0 if answered else limits.LOST_START_WAIT_MS / 1000):
            while box is not None and box["State"]["Status"] not in ALIVE:
                await trio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, limits.STOP_POLL_MAX_MS)
                box = await self._inspect(name)
        return box

    async def _filter(self, box: Mapping[str, Any]) -> None:
        """Write the rules into a running sandbox's namespace, in place of earlier ones."""
        if box["State"]["Status"] not in ALIVE:
            raise RuntimeUnavailable("The sandbox of a copy does not run.")
        held = [one for one in box["NetworkSettings"]["Networks"].values() if one["IPAddress"]]
        if len(held) != 1:
            raise RuntimeUnavailable("The sandbox of a copy has no address.")
        subnet = IPv4Interface(f"{held[0]['IPAddress']}/{held[0]['IPPrefixLen']}").network
        pairs = [port.split("/") for port in box["HostConfig"].get("PortBindings") or {}]
        published = [(int(number), protocol) for number, protocol in pairs]
        host, name = await self._host(), str(box["Id"])
        asked = tuple(ip_address(one) for one in box["HostConfig"].get("Dns") or ())
        rules = ruleset(attrs.evolve(self._reach(subnet, published, host), resolvers=asked))
        try:
            made = await self._ask(lambda c: c.exec_create(name, [NFT, rules], user="0:0"))
            with suppress(RuntimeUnavailable):
                await self._ask(lambda c: c.exec_start(made["Id"], detach=True))
            wait_ms = limits.NETWORK_POLL_MIN_MS
            while (ended := await self._ask(lambda c: c.exec_inspect(made["Id"])))["Running"]:
                await trio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, limits.STOP_POLL_MAX_MS)
        except APIError as error:
            raise RuntimeUnavailable(
                f"The rules of a copy's network cannot be written: {explanation(error)}."
            ) from error
        if ended["ExitCode"] != 0:
            raise RuntimeUnavailable(
                f"The rules of a copy's network are refused: nft ended with {ended['ExitCode']}."
            )
        self._written[name] = self._told(host)

    async def left(self, key: Key) -> None:
        """Remove an attempt's sandbox, and its task's network if that was the last one on it."""
        name = sandbox_name(self._scope, key)
        with self._swept_later():
            if (box := await self._inspect(name)) is not None:
                await self._act(lambda c: c.remove_container(str(box["Id"]), v=True, force=True))
                for volume in volumes_of(box):
                    await self._act(partial(remove_volume, volume))
                await self._networks.sweep(key[0].task_id)
            else:  # Somebody else removed it: the network that it was on may be empty.
                self._swept = False

    @contextmanager
    def _swept_later(self) -> Iterator[None]:
        """What is not done to its end may leave a network: the next listing sweeps all."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._swept = False

    async def settle(self, key: Key) -> None:
        """Let what is left of an attempt follow the other: a copy its sandbox, or the other way."""
        async with self.held(key):
            copy = await self._inspect(name_of(self._scope, *key))
            if copy is not None and read_labels(self._scope, copy["Config"].get("Labels")) is None:
                return
            box = await self._inspect(sandbox_name(self._scope, key))
            if copy is None:
                await self.left(key)
                return
            runs = copy["State"]["Status"] in ALIVE
            stands = box is not None and box["State"]["Status"] in ALIVE
            if runs and not stands and str(copy["HostConfig"]["NetworkMode"]).startswith(JOINS):
                log.warning("a copy ends, because its network is gone", allocation=str(key[0]))
                await self._act(lambda c: c.kill(str(copy["Id"]), "SIGKILL"))
            elif box is not None and stands and copy["State"]["Status"] in ("exited", "dead"):
                await self._act(lambda c: c.stop(str(box["Id"]), timeout=0))

    async def settle_all(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """After a listing of everything of this scope: settle what does not fit, a few at once."""
        copies: dict[Key, str] = {}
        boxes: dict[Key, str] = {}
        joined: set[Key] = set()
        for row in rows:
            if (key := sandbox_of(self._scope, row.get("Labels"))) is not None:
                boxes[key] = str(row.get("State"))
            elif (said := read_labels(self._scope, row.get("Labels"))) is not None:
                copies[said.allocation, said.attempt] = str(row.get("State"))
                mode = str((row.get("HostConfig") or {}).get("NetworkMode"))
                if mode.startswith(JOINS) and row.get("State") in ALIVE:
                    joined.add((said.allocation, said.attempt))
        uneven = [key for key, state in boxes.items() if not _fits(copies.get(key), state)]
        uneven += joined.difference(boxes)
        uneven = [key for key in uneven if key not in self._locks][: limits.SETTLED_AT_ONCE_MAX]
        async with trio.open_nursery() as nursery:
            for key in uneven:
                nursery.start_soon(self._try_settle, key)
        if not self._swept:
            try:
                with self._swept_later():
                    self._swept = True
                    await self._networks.sweep()
                    for volume in await left_volumes(self._scope, self._ask):
                        await self._act(partial(remove_volume, volume))
            except P2poolError as error:
                log.info("networks without copies stay for now", reason=str(error))

    async def refresh(self) -> None:
        """Write the rules of running copies anew if the machine has other addresses by now."""
        filters = {"label": [*scope_filter(self._scope), SANDBOX]}
        try:
            rows = await self._ask(lambda c: rows_of(c.containers(filters=filters)))
        except APIError as error:
            raise other_error(error) from error
        told = self._told(await self._host()) if rows else frozenset()
        for row in rows:
            key = sandbox_of(self._scope, row.get("Labels"))
            if key is None or self._written.get(str(row["Id"])) == told:
                continue
            try:  # One that cannot be written keeps no other from being written.
                with trio.fail_after(limits.NETWORK_STEP_DEADLINE_MS / 1000):
                    await self._refresh(key, str(row["Id"]))
            except (P2poolError, trio.TooSlowError) as error:
                log.warning("old rules stay for now", allocation=str(key[0]), reason=str(error))
        here = {str(row["Id"]) for row in rows}
        self._written = {name: host for name, host in self._written.items() if name in here}

    async def _refresh(self, key: Key, name: str) -> None:
        async with self.held(key):
            box = await self._inspect(name)
            if box is not None and box["State"]["Status"] in ALIVE and not _on_bridge(box):
                await self._filter(box)

    async def _try_settle(self, key: Key) -> None:
        try:
            await self.settle(key)
        except P2poolError as error:
            log.info("a sandbox is left as it is", allocation=str(key[0]), reason=str(error))

    # --- the engine -------------------------------------------------------------------------------

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            record = await self._ask(lambda c: record_of(c.inspect_container(name)))
        except NoSuch:
            return None
        except APIError as error:
            raise other_error(error) from error
        return record

    async def _act(self, call: Any) -> None:
        """Something that is fine if it was already so."""
        try:
            await self._ask(call)
        except NoSuch:
            return
        except APIError as error:
            if error.status_code != 409:
                raise other_error(error) from error


def _on_bridge(box: Mapping[str, Any]) -> bool:
    """Whether a sandbox is on the engine's own network, where no rules are written."""
    return str(box["HostConfig"].get("NetworkMode")) == BRIDGE


def _fits(copy: str | None, box: str) -> bool:
    """Whether the states of a copy and of its sandbox go together."""
    if copy is None:
        return False
    if copy in ALIVE:
        return box in ALIVE
    return box not in ALIVE or copy == "created"


@contextmanager
def _nodes_fault() -> Iterator[None]:
    """Whatever a helper cannot do is this node's fault, not a task's."""
    try:
        yield
    except RuntimeUnavailable:
        raise
    except P2poolError as error:
        raise RuntimeUnavailable(error.message, hint=error.hint) from error
