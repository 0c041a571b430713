"""`p2pool node`: lists and manages the pool's nodes, as an agent knows them."""

import click

from p2pool.cli.lazy import LazyGroup
from p2pool.cli.node.verdicts import verdict_pairs, verdicts_on
from p2pool.cli.shared.known import copy_state, warn_if_stale
from p2pool.cli.shared.lookup import find_node
from p2pool.cli.shared.options import agent_option, consistent_option, json_option
from p2pool.cli.shared.output import age, short, size, write_json
from p2pool.cli.shared.tables import Column, wide_option, write_pairs, write_table
from p2pool.client.agent_client import AgentClient, Answer

OUTSIDE = ("applicant", "invited", "left")


# Those that sign, which cost more to import than `ls` takes.
SIGNING = {
    "ban": (
        "p2pool.cli.node.intent:ban",
        "Ban a node from all work until the manager lifts the ban: no task, no vote.",
    ),
    "deregister": (
        "p2pool.cli.node.registration:deregister",
        "Take nodes out of their pool and the registry, as their provider.",
    ),
    "drain": (
        "p2pool.cli.node.intent:drain",
        "Take a node out of work, as its provider or the pool's manager.",
    ),
    "register": (
        "p2pool.cli.node.registration:register",
        "Register a node on the chain, as its provider.",
    ),
    "rekey": (
        "p2pool.cli.node.rekey:rekey",
        "Make this machine another node, with its volumes, as its provider.",
    ),
    "resume": ("p2pool.cli.node.intent:resume", "Put a drained node back to work."),
    "rotate-peer-key": (
        "p2pool.cli.node.peer_key:rotate",
        "Give the node of a data directory another peer key; its name and tasks stay.",
    ),
    "unban": ("p2pool.cli.node.intent:unban", "Lift a ban, as the pool's creator or manager."),
}


@click.group(name="node", cls=LazyGroup, table=SIGNING, help="List, register, drain and ban nodes.")
def node() -> None:
    """The group."""


@node.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="Also nodes that left or may come.")
@agent_option
@consistent_option
@wide_option
@json_option
def ls(client: AgentClient, everything: bool, consistent: bool, as_json: bool) -> None:
    """List the nodes: membership on the chain, reachability, and what the pool wants of each."""
    nodes = client.nodes(consistent=consistent)
    warn_if_stale(client)
    shown = [one for one in nodes if everything or one["membership"] not in OUTSIDE]
    if as_json:
        write_json("nodes", shown)
        return
    write_table(_COLUMNS, (_row(one) for one in shown), "This agent knows no node yet.")


_COLUMNS = (
    *("NODE", Column("MEMBERSHIP", rank=6), "REACHABILITY", "INTENT", Column("ROLE", rank=1)),
    *(Column("VERSION", rank=9), Column("TASKS", rank=5)),
    *(Column("CPUS FREE", rank=3), Column("GPUS FREE", rank=4), Column("MEMORY FREE", rank=7)),
    *(Column("HEARD", rank=8), Column("WHY", rank=2, prose=True)),
)


def _tells(one: Answer) -> bool:
    """Whether the pool hears a node, so that what it said last holds."""
    return one["reachability"] in ("healthy", "suspect")


def _row(one: Answer) -> tuple[str, ...]:
    free, hardware = one["free"] if _tells(one) else None, one["hardware"]
    role = one["role"] if _tells(one) else "-"  # What it was when it was heard.
    return (
        short(one["node_id"]),
        one["membership"],
        one["reachability"],
        one["intent"] if one["eligible"] else "not eligible",
        "leader" if one["leader"] else role,
        one["agent_version"] or "-",
        str(one["allocations"]),
        f"{free['cpu_milli'] / 1000:g}/{hardware['cpu_milli'] / 1000:g}"
        if free and hardware
        else "-",
        f"{free['gpus']}/{len(hardware['gpus'])}" if free and hardware else "-",
        f"{size(free['memory_bytes'])}/{size(hardware['memory_bytes'])}"
        if free and hardware
        else "-",
        age(one["last_heard_ms"]),
        one["reason"] or "-",
    )


@node.command("show")
@click.argument("node_id", metavar="NODE")
@agent_option
@wide_option
@json_option
def show(node_id: str, client: AgentClient, as_json: bool) -> None:
    """Show one node, what it runs, and what validators say of it. NODE is its id or the beginning
    of it."""
    answer = find_node(client, node_id)
    warn_if_stale(client)
    one = answer["node"]
    verdicts = verdicts_on(client, one["node_id"])
    if as_json:
        told = {"node": one, "allocations": answer["allocations"], "validations": verdicts}
        write_json("node", told)
        return
    write_pairs([*_pairs(one), *verdict_pairs(verdicts)])
    click.echo()
    columns = (
        *(Column("ALLOCATION", rank=1), "TASK", "STATE", Column("GPUS", rank=2, prose=True)),
        Column("REASON", prose=True),
    )
    rows = (
        (a["id"], a["task_name"], copy_state(a), ", ".join(a["gpus"]) or "-", a["reason"])
        for a in answer["allocations"]
    )
    write_table(columns, rows, "It runs nothing.")


def _gpu_load(load: Answer) -> str:
    """The state of a GPU in one line; errors only if it has any."""
    parts = []
    if load["busy_percent"] >= 0:
        parts.append(f"{load['busy_percent']}% busy")
    if load["memory_used_mib"] >= 0:
        parts.append(f"{size(load['memory_used_mib'] << 20)} used")
    if load["processes"] >= 0:
        parts.append(f"{load['processes']} process{'' if load['processes'] == 1 else 'es'}")
    if load["temperature_c"] > 0:
        parts.append(f"{load['temperature_c']} \N{DEGREE SIGN}C")
    if load["ecc_errors"]:
        parts.append(f"{load['ecc_errors']} uncorrected ECC errors")
    if load["xid"]:
        parts.append(f"last Xid {load['xid']}")
    return ", ".join(parts) or "its load is unknown"


def _version(one: Answer) -> str:
    """What its program is, and the newest feature level that it knows."""
    if not one["agent_version"]:
        return "-"
    return f"{one['agent_version']}, knows feature levels up to {one['feature_level']}"


def _role(one: Answer) -> str:
    if _tells(one):
        return str(one["role"])
    return f"unknown ({one['role']} when it was heard)" if one["last_heard_ms"] else "unknown"


def _pairs(one: Answer) -> list[tuple[str, str]]:
    pairs = [
        ("node", one["node_id"]),
        ("provider", one["provider"]),
        ("peer", one["peer_id"] or "unknown: never heard"),
        ("membership", one["membership"]),
        ("reachability", one["reachability"]),
        ("intent", one["intent"] if one["eligible"] else f"{one['intent']}, not eligible"),
        ("role", "leader" if one["leader"] else _role(one)),
        ("heard", f"{age(one['last_heard_ms'])} ago" if one["last_heard_ms"] else "never"),
        ("version", _version(one)),
        ("addresses", ", ".join(one["addresses"]) or "-"),
    ]
    if one["reason"]:
        pairs.append(("why", one["reason"]))
    if (machine := one["hardware"]) is not None:
        free = one["free"] if _tells(one) else None
        cpus = f"{machine['cpu_model']}, {machine['cpu_milli'] / 1000:g} CPUs"
        pairs.append(("processor", cpus + (f", {free['cpu_milli'] / 1000:g} free" if free else "")))
        for name in ("memory", "disk"):
            left = f", {size(free[f'{name}_bytes'])} free" if free else ""
            pairs.append((name, size(machine[f"{name}_bytes"]) + left))
        if machine["driver_version"]:
            versions = f"NVIDIA {machine['driver_version']}, CUDA {machine['cuda_version'] or '?'}"
            pairs.append(("driver", versions))
        loads = one["load"]["gpus"]
        for number, gpu in enumerate(machine["gpus"]):
            memory = size(gpu["memory_bytes"]) if gpu["memory_bytes"] else "memory unknown"
            pairs.append(("gpu", f"{gpu['model']}, {memory}, {gpu['uuid']}"))
            if gpu["parent"]:
                pairs.append(("", f"an instance of {gpu['parent']}"))
            if number < len(loads):
                pairs.append(("", _gpu_load(loads[number])))
            if not gpu["healthy"]:
                pairs.append(("", f"unhealthy: {gpu['reason']}"))
    load = one["load"]
    processors, memory = load["cpu_permille"] // 10, load["memory_permille"] // 10
    if one["last_heard_ms"]:
        said = "" if _tells(one) else f", {age(one['last_heard_ms'])} ago"
        pairs.append(("load", f"processors {processors}%, memory {memory}%{said}"))
    return pairs
