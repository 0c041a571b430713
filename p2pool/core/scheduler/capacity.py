"""One node's free capacity while a plan is made, and why it refuses a copy that does not fit.

Intuition: built once from the state, then updated by taking and giving back, so that a plan of many
copies does not recount everything for each.

Invariants: a copy takes only free resources (a node's offer may shrink below what its copies hold);
`gpus` holds no GPU that is held or unhealthy; every refusal is a phrase for people that says what
was wanted and what is there. Shared memory and tmpfs count inside a container's memory limit, so
they take nothing of their own.
Source: docs/design/tasks.md, "Placement".
"""

from collections.abc import Iterable, Mapping

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.codec.text.requirements import task_requirements
from p2pool.core.fsm.order_room import OrderRoom, room_on, task_order_bytes
from p2pool.core.fsm.state import PoolState, Task
from p2pool.model import limits
from p2pool.model.ids import Address, NodeId, TaskId
from p2pool.model.machine.fitness import unmet
from p2pool.model.machine.hardware import Gpu, Hardware
from p2pool.model.states import AllocationState, Intent, Reachability
from p2pool.model.tasks.secrets import RecipientPolicy
from p2pool.model.tasks.set_aside import SetAside
from p2pool.model.tasks.spec import Constraint, Resources

MIB = 1024 * 1024
HostPort = tuple[int, str]


@attrs.frozen
class NodeOffer:
    """One node as the leader knows it.

    `eligible` False, with the reason for people: roster, health, intent or runtime say no.
    """

    node_id: NodeId
    provider: Address
    hardware: Hardware
    eligible: bool
    reason: str | None = None


NEEDS_SUBMITTER = "needs its submitter: p2pool task provide-secrets"
"""Why a copy waits whose secrets no node can open that may take it."""


@attrs.frozen
class SecretReach:
    """Who can get a task's secrets. `able`: the nodes that hold their key; None: one that runs the
    task seals it to whoever is assigned a copy. `unknown`: why this leader cannot tell yet."""

    policy: RecipientPolicy
    able: frozenset[NodeId] | None
    unknown: str | None = None

    def permits(self, offer: NodeOffer) -> bool:
        """Whether the submitter lets a node have them."""
        return self.policy.permits(offer.node_id, offer.provider)

    def refusal(self, offer: NodeOffer) -> str | None:
        """Why a copy on a node would wait for its secrets, or None."""
        if not self.permits(offer):
            return "is no recipient of its secrets"
        if self.unknown is not None:
            return self.unknown
        reached = self.able is None or offer.node_id in self.able
        return None if reached else NEEDS_SUBMITTER


@attrs.frozen
class Demand:
    """What each copy of a task needs on a node. Tasks with equal `shape` need the same.

    `refused`: how often each node refused to start it; `set_aside`: those of them that are not to
    be tried yet, and why.
    """

    task_id: TaskId
    resources: Resources
    constraints: tuple[Constraint, ...]
    ports: tuple[HostPort, ...]
    order_bytes: int
    refused: Mapping[NodeId, int] = attrs.field(factory=dict)
    set_aside: Mapping[NodeId, str] = attrs.field(factory=dict)
    secrets: SecretReach | None = None
    requirements: str = ""

    @property
    def shape(self) -> tuple[object, ...]:
        """Everything but the task's id."""
        aside = tuple(sorted(self.set_aside.items()))
        wanted = self.resources, self.constraints, self.requirements, self.ports
        return (*wanted, self.order_bytes, aside, self.secrets)


def need_of(
    task: Task,
    refusals: Iterable[SetAside] = (),
    at_ms: int = 0,
    secrets: SecretReach | None = None,
) -> Demand:
    """What each copy of this task needs, at a log time; `refusals`: the nodes that refused it;
    `secrets`: who can get its secrets, if it has any."""
    rows = tuple(refusals)
    spec = task.spec
    ports = tuple((port.host, port.protocol) for port in spec.ports if port.host)
    return Demand(
        task_id=task.task_id,
        resources=spec.resources,
        constraints=spec.constraints,
        ports=ports,
        order_bytes=task_order_bytes(task.record),
        secrets=secrets,
        requirements=spec.requirements,
        refused={row.node_id: row.times for row in rows},
        set_aside={row.node_id: row.reason for row in rows if not row.over(at_ms)},
    )


@attrs.define
class NodeCapacity:
    """One node's free resources. `closed`: why it takes nothing at all, if so.

    `gpus`: free and healthy, smallest first. `of_task`: copies of each task on it; `leaving`: tasks
    with a lost copy that may still be on it. `judged`: what the machine lacks of each requirement
    string, which no copy changes.
    """

    offer: NodeOffer
    closed: str | None
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: list[Gpu]
    ports: dict[HostPort, None] = attrs.field(factory=dict)
    order: OrderRoom = attrs.field(factory=OrderRoom)
    of_task: dict[TaskId, int] = attrs.field(factory=dict)
    leaving: dict[TaskId, None] = attrs.field(factory=dict)
    judged: dict[str, str | None] = attrs.field(factory=dict)

    def refusal(self, need: Demand) -> str | None:
        """Why this node does not take a copy, or None if it does."""
        if self.closed is not None:
            return self.closed
        if need.task_id in self.leaving:
            return "an older copy may still run on it"
        if (refused := need.set_aside.get(self.offer.node_id)) is not None:
            return _clip(f"refused to start it: {refused}")
        if need.secrets is not None and (why := need.secrets.refusal(self.offer)) is not None:
            return why
        wanted = need.resources
        full = self.order.refusal(need.order_bytes, wanted.gpu.count)
        if full is not None:
            return full
        for constraint in need.constraints:
            if not meets(self.offer, constraint, bool(wanted.gpu.count)):
                word = "is not" if constraint.equals else "is"
                return f"{constraint.attribute} {word} {_clip(constraint.value)}"
        if need.requirements and (lacks := self._lacks(need.requirements)) is not None:
            return lacks
        if wanted.cpu_milli > self.cpu_milli:
            return f"not enough CPU (wants {wanted.cpu_milli}m, {max(0, self.cpu_milli)}m free)"
        if wanted.memory_bytes > self.memory_bytes:
            return f"not enough memory ({_amounts(wanted.memory_bytes, self.memory_bytes)})"
        if wanted.disk_bytes > max(0, self.disk_bytes):
            return f"not enough disk ({_amounts(wanted.disk_bytes, self.disk_bytes)})"
        if wanted.gpu.count and len(self._matching(need)) < wanted.gpu.count:
            return self._too_few_gpus(need)
        for port in need.ports:
            if port in self.ports:
                return f"port {port[0]}/{port[1]} is taken"
        return None

    def suits(self, need: Demand) -> bool:
        """Whether this node, empty and well, could run a copy."""
        wanted, hardware = need.resources, self.offer.hardware
        gpus = [gpu for gpu in hardware.gpus if _suits(gpu, need)]
        required = task_requirements(need.requirements)
        return (
            (need.secrets is None or need.secrets.permits(self.offer))
            and all(meets(self.offer, one, bool(wanted.gpu.count)) for one in need.constraints)
            and unmet(hardware, required, well=True) is None
            and wanted.cpu_milli <= hardware.cpu_milli
            and wanted.memory_bytes <= hardware.memory_bytes
            and wanted.disk_bytes <= hardware.disk_bytes
            and wanted.gpu.count <= len(gpus)
        )

    def take(self, need: Demand) -> tuple[str, ...]:
        """Take a copy's share of a node that does not refuse it; return the GPUs by UUID."""
        chosen = self._matching(need)[: need.resources.gpu.count]
        if chosen:
            names = dict.fromkeys(gpu.uuid for gpu in chosen)
            self.gpus = [gpu for gpu in self.gpus if gpu.uuid not in names]
        self.ports.update(dict.fromkeys(need.ports))
        self._add(need.task_id, need.resources, 1)
        self.order.add(need.order_bytes, len(chosen))
        return tuple(gpu.uuid for gpu in chosen)

    def give_back(self, need: Demand, uuids: tuple[str, ...]) -> None:
        """Undo one `take`."""
        by_name = {gpu.uuid: gpu for gpu in self.offer.hardware.gpus}
        self.gpus = sorted(self.gpus + [by_name[uuid] for uuid in uuids], key=_smallest)
        for port in need.ports:
            del self.ports[port]
        self._add(need.task_id, need.resources, -1)
        self.order.add(need.order_bytes, len(uuids), -1)

    def tightness(self, need: Demand) -> tuple[int, int, NodeId]:
        """How much stays free once a copy is here (less is a better fit), then the node id."""
        hardware, wanted = self.offer.hardware, need.resources
        cpu = (self.cpu_milli - wanted.cpu_milli) * 1000 // max(1, hardware.cpu_milli)
        memory = (self.memory_bytes - wanted.memory_bytes) * 1000 // max(1, hardware.memory_bytes)
        return (len(self.gpus) - wanted.gpu.count, cpu + memory, self.offer.node_id)

    def _add(self, task_id: TaskId, wanted: Resources, sign: int) -> None:
        self.cpu_milli -= sign * wanted.cpu_milli
        self.memory_bytes -= sign * wanted.memory_bytes
        self.disk_bytes -= sign * wanted.disk_bytes
        self.of_task[task_id] = self.of_task.get(task_id, 0) + sign

    def _lacks(self, requirements: str) -> str | None:
        """What the whole machine, free or not, lacks of them."""
        if requirements not in self.judged:
            lacks = unmet(self.offer.hardware, task_requirements(requirements))
            self.judged[requirements] = None if lacks is None else _clip(lacks)
        return self.judged[requirements]

    def _matching(self, need: Demand) -> list[Gpu]:
        """The free GPUs that fit this task, by its constraints on the model too."""
        wanted = need.resources.gpu
        if not wanted.count:
            return []
        return [gpu for gpu in self.gpus if _suits(gpu, need)]

    def _too_few_gpus(self, need: Demand) -> str:
        wanted = need.resources.gpu
        there = [gpu for gpu in self.offer.hardware.gpus if _suits(gpu, need)]
        kind = f" of {_clip(wanted.model)}" if wanted.model else ""
        kind += f" with {_size(wanted.memory_min_bytes)}" if wanted.memory_min_bytes else ""
        ill = sum(not gpu.healthy for gpu in there)
        dim = 0
        if wanted.memory_min_bytes:
            dim = sum(not gpu.memory_known for gpu in self.offer.hardware.gpus)
        free = f"{len(self._matching(need))} free"
        free += f", {dim} of unknown memory" if dim else ""
        free += f", {ill} unhealthy" if ill else ""
        return f"not enough GPUs{kind} (wants {wanted.count}, {free})"


def room_of(state: PoolState, offer: NodeOffer) -> NodeCapacity:
    """A node's capacity less what its holders use."""
    hardware = offer.hardware
    holders = state.holders(offer.node_id)
    held = dict.fromkeys(uuid for holder in holders for uuid in holder.gpus)
    gpus = {gpu.uuid: gpu for gpu in hardware.gpus if gpu.healthy and gpu.uuid not in held}
    room = NodeCapacity(
        offer=offer,
        closed=_closed(state, offer),
        cpu_milli=hardware.cpu_milli,
        memory_bytes=hardware.memory_bytes,
        disk_bytes=hardware.disk_bytes,
        gpus=sorted(gpus.values(), key=_smallest),
        order=room_on(state, offer.node_id),
    )
    for holder in holders:
        name = holder.allocation
        task, copy = state.tasks.get(name.task_id), state.allocation(name)
        room._add(name.task_id, holder.resources, 1)
        if task is not None:
            room.ports.update(dict.fromkeys(need_of(task).ports))
        current = copy is not None and copy.attempt == holder.attempt
        if not current or (copy is not None and copy.state is AllocationState.LOST):
            room.leaving[name.task_id] = None
    return room


def _closed(state: PoolState, offer: NodeOffer) -> str | None:
    """Why a node takes nothing at all, or None."""
    node = state.node(offer.node_id)
    if node.intent is not Intent.ELIGIBLE:
        return node.intent.name.lower()
    if node.reachability is not Reachability.HEALTHY:
        return node.reachability.name.lower()
    if not offer.eligible:
        return _clip(offer.reason or "") or "not eligible"
    return None


def meets(offer: NodeOffer, constraint: Constraint, chooses_gpus: bool) -> bool:
    """Whether a node meets a constraint. Case and `0x` do not matter.

    `chooses_gpus`: the task takes GPUs, so a constraint on their model is about the cards that it
    gets, not about all that the machine has.
    """
    hardware, attribute = offer.hardware, constraint.attribute
    if attribute == "gpu.model":
        return chooses_gpus or constraint.equals == any(
            _same(gpu.model, constraint.value) for gpu in hardware.gpus
        )
    there = {
        "node": offer.node_id.hex(),
        "provider": offer.provider.hex(),
        "cpu.model": hardware.cpu_model,
        "runtime": hardware.runtime,
        "architecture": hardware.architecture,
    }
    value = constraint.value
    if attribute in ("node", "provider"):
        value = value.lower().removeprefix("0x")
    return constraint.equals == _same(there[attribute], value)


def _suits(gpu: Gpu, need: Demand) -> bool:
    wanted = need.resources.gpu
    return (
        wanted.model.lower() in gpu.model.lower()
        and gpu.memory_bytes >= wanted.memory_min_bytes
        and all(
            c.equals == _same(gpu.model, c.value)
            for c in need.constraints
            if c.attribute == "gpu.model"
        )
    )


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _smallest(gpu: Gpu) -> tuple[int, str]:
    return gpu.memory_bytes, gpu.uuid


def _size(number: int) -> str:
    return f"{number // MIB} MiB" if number >= MIB else f"{number} B"


def _amounts(wanted: int, free: int) -> str:
    return f"wants {_size(wanted)}, {_size(max(0, free))} free"


def _clip(text: str) -> str:
    return clipped(text, limits.REFUSAL_TEXT_MAX_BYTES)
