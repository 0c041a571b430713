"""`p2pool node`: lists and manages the pool's nodes, as an agent knows them."""

import click

from p2pool.cli.shared.lazy import LazyGroup
from p2pool.cli.shared.options import agent_option, consistent_option, json_option
from p2pool.cli.shared.output import age, short, size, write_json, write_pairs, write_table
from p2pool.client.agent_client import AgentClient, Answer

OUTSIDE = ("applicant", "invited", "left")


# Those that sign, which cost more to import than `ls` takes.
SIGNING = {
    "ban": (
        "p2pool.cli.node.intent:ban",
        "Ban a node from all work until the manager lifts the ban: no task, no vote.",
    ),
    "drain": (
        "p2pool.cli.node.intent:drain",
        "Take a node out of work, as its provider or the pool's manager.",
    ),
    "resume": ("p2pool.cli.node.intent:resume", "Put a drained node back to work."),
    "unban": ("p2pool.cli.node.intent:unban", "Lift a ban, as the pool's creator or manager."),
}


@click.group(
    name="node", cls=LazyGroup, table=SIGNING, help="List, drain and ban the pool's nodes."
)
def node() -> None:
    """The group."""


@node.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="Also nodes that left or may come.")
@agent_option
@consistent_option
@json_option
def ls(client: AgentClient, everything: bool, consistent: bool, as_json: bool) -> None:
    """List the nodes: membership on the chain, reachability, and what the pool wants of each."""
    nodes = client.nodes(consistent=consistent)
    shown = [one for one in nodes if everything or one["membership"] not in OUTSIDE]
    if as_json:
        write_json(shown)
        return
    columns = (
        *("NODE", "MEMBERSHIP", "REACHABILITY", "INTENT", "ROLE", "VERSION", "TASKS"),
        *("GPUS FREE", "MEMORY FREE", "HEARD", "WHY"),
    )
    write_table(
        columns,
        (_row(one) for one in shown),
        "This agent knows no node yet.",
        whole=("NODE", "VERSION"),
    )


def _row(one: Answer) -> tuple[str, ...]:
    free, hardware = one["free"], one["hardware"]
    return (
        short(one["node_id"]),
        one["membership"],
        one["reachability"],
        one["intent"] if one["eligible"] else "not eligible",
        "leader" if one["leader"] else one["role"],
        one["agent_version"] or "-",
        str(one["allocations"]),
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
@json_option
def show(node_id: str, client: AgentClient, as_json: bool) -> None:
    """Show one node and what it runs. NODE is its id or the beginning of it."""
    answer = client.node(node_id)
    if as_json:
        write_json({"node": answer["node"], "allocations": answer["allocations"]})
        return
    one = answer["node"]
    write_pairs(_pairs(one))
    click.echo()
    rows = (
        (a["id"], a["task_name"], a["state"], ", ".join(a["gpus"]) or "-", a["reason"])
        for a in answer["allocations"]
    )
    write_table(("ALLOCATION", "TASK", "STATE", "GPUS", "REASON"), rows, "It runs nothing.")


def _gpu_load(load: Answer) -> str:
    """The state of a GPU in one line; errors only if it has any."""
    parts = [
        f"{load['busy_percent']}% busy",
        f"{size(load['memory_used_mib'] << 20)} used",
        f"{load['processes']} process{'' if load['processes'] == 1 else 'es'}",
    ]
    if load["temperature_c"]:
        parts.append(f"{load['temperature_c']} \N{DEGREE SIGN}C")
    if load["ecc_errors"]:
        parts.append(f"{load['ecc_errors']} uncorrected ECC errors")
    if load["xid"]:
        parts.append(f"last Xid {load['xid']}")
    return ", ".join(parts)


def _version(one: Answer) -> str:
    """What its program is, and the newest feature level that it knows."""
    if not one["agent_version"]:
        return "-"
    return f"{one['agent_version']}, knows feature levels up to {one['feature_level']}"


def _pairs(one: Answer) -> list[tuple[str, str]]:
    pairs = [
        ("node", one["node_id"]),
        ("provider", one["provider"]),
        ("peer", one["peer_id"] or "unknown: never heard"),
        ("membership", one["membership"]),
        ("reachability", one["reachability"]),
        ("intent", one["intent"] if one["eligible"] else f"{one['intent']}, not eligible"),
        ("role", "leader" if one["leader"] else one["role"]),
        ("heard", f"{age(one['last_heard_ms'])} ago" if one["last_heard_ms"] else "never"),
        ("version", _version(one)),
        ("addresses", ", ".join(one["addresses"]) or "-"),
    ]
    if one["reason"]:
        pairs.append(("why", one["reason"]))
    if (machine := one["hardware"]) is not None:
        pairs.append(("processor", f"{machine['cpu_model']}, {machine['cpu_milli'] / 1000:g} CPUs"))
        pairs.append(("memory", size(machine["memory_bytes"])))
        pairs.append(("disk", size(machine["disk_bytes"])))
        if machine["driver_version"]:
            versions = f"NVIDIA {machine['driver_version']}, CUDA {machine['cuda_version'] or '?'}"
            pairs.append(("driver", versions))
        loads = one["load"]["gpus"]
        for number, gpu in enumerate(machine["gpus"]):
            pairs.append(("gpu", f"{gpu['model']}, {size(gpu['memory_bytes'])}, {gpu['uuid']}"))
            if gpu["parent"]:
                pairs.append(("", f"an instance of {gpu['parent']}"))
            if number < len(loads):
                pairs.append(("", _gpu_load(loads[number])))
            if not gpu["healthy"]:
                pairs.append(("", f"unhealthy: {gpu['reason']}"))
    load = one["load"]
    processors, memory = load["cpu_permille"] // 10, load["memory_permille"] // 10
    pairs.append(("load", f"processors {processors}%, memory {memory}%"))
    return pairs
