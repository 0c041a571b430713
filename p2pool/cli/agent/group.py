"""`p2pool agent`: runs and inspects the agent of this machine."""

import click

from p2pool.cli.lazy import LazyGroup
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import age, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.client.agent_client import AgentClient, Answer

HEAVY = {
    "check": (
        "p2pool.cli.agent.check:check",
        "Check whether this machine can join the pool, and say what to do if it cannot.",
    ),
    "init": (
        "p2pool.cli.agent.init:init",
        "Write this machine's configuration and keys, step by step, and check what was written.",
    ),
    "notify": (
        "p2pool.cli.agent.notify:notify",
        "Try the receivers of events that the configuration names.",
    ),
    "token": (
        "p2pool.cli.agent.tokens:token",
        "Make, list and revoke the tokens of an agent's API.",
    ),
    "run": ("p2pool.cli.agent.run:run", "Run the agent of this machine until SIGINT or SIGTERM."),
}


@click.group(
    name="agent", cls=LazyGroup, table=HEAVY, help="Run and inspect the agent of this machine."
)
def agent() -> None:
    """The group."""


@agent.command("status")
@agent_option
@json_option
@click.pass_context
def status(context: click.Context, client: AgentClient, as_json: bool) -> None:
    """Show whether the agent takes part in the pool, and what prevents it.

    Exit code 0: it takes part; 1: it does not.
    """
    answer = client.get("/v1/agent")
    one, meta = answer["agent"], answer["meta"]
    if as_json:
        write_json("agent", {"agent": one, "meta": meta})
    else:
        block = meta["roster_block"]
        heard = f"block {block}, {meta['roster_age_ms'] // 1000} s old"
        write_pairs(
            [
                ("agent", client.url),
                *([("socket", str(client.socket))] if client.socket else []),
                ("node", one["node_id"]),
                ("peer", one["peer_id"]),
                ("store", one["store_id"]),
                ("role", one["role"]),
                ("leader", meta["leader"] or "unknown"),
                ("term", str(meta["term"])),
                ("log", f"committed {meta['commit_index']}, applied {meta['applied_index']}"),
                ("chain", heard if block is not None else "not read yet"),
                ("peers", f"{one['peers_connected']} connected"),
                ("as of", f"{age(meta['as_of_ms'])} ago"),
                ("ready", "yes" if one["ready"] else "no"),
                *_joining(one.get("joining")),
                *_provider(one.get("provider")),
                *_work(one.get("work")),
                *_challenges(one.get("challenges")),
                *(("webhook", _webhook(told)) for told in one.get("webhooks", ())),
                *(("problem", text) for text in one["problems"]),
                *(("warning", text) for text in one.get("warnings", ())),
            ]
        )
    if not one["ready"]:
        context.exit(1)


def _joining(told: Answer | None) -> list[tuple[str, str]]:
    """The step on the way into the pool: since when, on whom it waits, and what they run."""
    if told is None:
        return []
    what = f"{told['step']} ({told['progress']} for {age(told['since_ms'])})"
    pairs = [("joining", what)]
    if told["finding"]:
        pairs.append(("", told["finding"]))
    if told["waiting_on"]:
        pairs.append(("waits for", told["waiting_on"]))
    if told["command"]:
        pairs.append(("they run", told["command"]))
    return pairs


def _provider(told: Answer | None) -> list[tuple[str, str]]:
    """The provider's coin and stake, as the chain said a moment ago."""
    if told is None:
        return []
    from p2pool.codec.text.amounts import amount_or_unknown

    needed = amount_or_unknown(told["stake_needed_wei"])
    pairs = [
        ("provider", told["account"]),
        ("coin", amount_or_unknown(told["coin_wei"], "coin")),
        ("stake", f"{amount_or_unknown(told['stake_wei'])}, its nodes need {needed}"),
    ]
    if told["unbonding_wei"] not in ("0", None):
        pairs.append(("unbonding", _unbonding(told)))
    if told["problem"]:
        pairs.append(("", f"not all is known: {told['problem']}"))
    return pairs


def _work(told: Answer | None) -> list[tuple[str, str]]:
    """What copies here have done for the chain; nothing where nobody asked."""
    if told is None:
        return []
    states = ("submitted", "waiting", "refused", "invalidated", "dropped")
    counts = [(what, told[what]) for what in states]
    if not any(count for _, count in counts) and not told["problem"]:
        return []
    text = ", ".join(f"{count} {what}" for what, count in counts if count or what == "submitted")
    pairs = [("work", f"{text}; {told['units']} units on the chain")]
    if told["judged"] is False:
        pairs.append(("", "nobody judges work in this pool's domain"))
    if told["problem"]:
        pairs.append(("", told["problem"]))
    for state in ("refused", "invalidated"):
        wrong = next((one for one in told["pieces"] if one["state"] == state), None)
        if wrong is not None:
            pairs.append(("", f"last {state}: {wrong['source']}: {wrong['why']}"))
    return pairs


def _challenges(told: Answer | None) -> list[tuple[str, str]]:
    """Whether validators may challenge the node, and what came of it."""
    if told is None:
        return []
    declined = ", ".join(f"{one['count']} {one['code']}" for one in told["declined"])
    text = f"none is taken: {told['off']}" if told["off"] else f"{told['served']} served"
    text += f", declined: {declined}" if declined else ""
    pairs = [("challenges", text + (", one is running" if told["running"] else ""))]
    if told["last_at_ms"]:
        when = f"{age(told['last_at_ms'])} ago"
        pairs.append(("verdict", f"{told['last_conclusion']}, {told['last_validator']}, {when}"))
    return pairs


def _unbonding(told: Answer) -> str:
    from p2pool.codec.text.amounts import amount_or_unknown
    from p2pool.drivers.dates import utc

    text = amount_or_unknown(told["unbonding_wei"])
    if told["withdrawable_wei"] not in ("0", None):
        text += f", {amount_or_unknown(told['withdrawable_wei'])} can be withdrawn now"
    return text + (f", more on {utc(told['next_due_s'])}" if told["next_due_s"] else "")


def _webhook(told: Answer) -> str:
    """How deliveries to one receiver go."""
    given_up = f", {told['given_up']} given up" if told["given_up"] else ""
    return f"{told['name']} at {told['url']}: {told['delivered']} delivered{given_up}"
