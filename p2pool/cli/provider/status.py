"""`p2pool provider status`: what the chain has of a provider; needs no passphrase.

Each line says what is known, that there is none, or that it is unknown: an endpoint that does not
answer leaves no zero behind.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.provider.reward_words import (
    Earned,
    earned_by,
    reward_document,
    reward_notes,
    reward_rows,
)
from p2pool.cli.shared.chain import ConfigFile, config_file, config_option, pool_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.tables import write_pairs, write_table
from p2pool.cli.shared.types import AccountType
from p2pool.codec.text.amounts import coin_text, tokens_text
from p2pool.drivers.dates import utc
from p2pool.model.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from p2pool.drivers.chain.provider.facts import OwnNode, ProviderFacts, Reading, StakeFacts
    from p2pool.model.ids import Address


@click.command("status")
@click.argument("provider", metavar="[PROVIDER]", required=False, type=AccountType())
@click.option(
    "--key",
    metavar="FILE",
    envvar="P2POOL_KEY",
    help="The key of the provider, of which only the address is read: a file, fd:N or clef:PATH."
    " Default: P2POOL_KEY.",
)
@pool_option
@config_option
@json_option
def status(
    provider: "Address | None",
    key: str | None,
    pool_id: int | None,
    config: "Path | None",
    as_json: bool,
) -> None:
    """Show a provider's stake, means, nodes and rewards, as the chain has them.

    PROVIDER is its address. Default: the account of --key. Rewards are those of the pool, where the
    deployment pays any.
    """
    place = config_file(config, None)
    found = _read(place, provider or _account(key), _pool_id(place, pool_id))
    facts, stake, nodes, earned = found
    if as_json:
        told = _document(facts, stake, nodes)
        told["rewards"] = None if earned is None else reward_document(earned)
        told["unknown"] = sorted({*told["unknown"], *(() if earned is None else earned.unknown)})
        write_json("provider", told)
        return
    write_pairs(_pairs(facts, stake))
    click.echo()
    if nodes.why:
        click.echo(f"Its nodes are unknown: {nodes.why}")
        return
    columns = ("NODE", "UNITS", "VALIDATED", "IN A POOL")
    rows = (
        ("0x" + one.node_id.hex(), str(one.compute_units), _yes(one.validated), _yes(one.active))
        for one in nodes.value or ()
    )
    write_table(columns, rows, "It has no node.")
    if earned is None or not earned.node_ids:
        return
    click.echo()
    if earned.rewards:
        write_table(("NODE", "CLAIMABLE", "LOCKED", "CLAIMED"), reward_rows(earned), "")
    for text in reward_notes(earned):
        click.echo(text)


def _pool_id(config: ConfigFile, given: int | None) -> int | None:
    """The given pool, else the configuration's; None where it names none."""
    if given is not None:
        return given
    from p2pool.drivers.config.schema import load_chain, load_config

    load_chain(config.path, config.environment)
    try:
        return load_config(config.path, config.environment).pool.id
    except Misconfigured:
        return None


def _account(key: str | None) -> "Address":
    if not key:
        raise Misconfigured(
            "No provider is named.",
            hint="Name its address, or its key file: --key FILE or P2POOL_KEY.",
        )
    from p2pool.drivers.keys.signers.opener import key_address
    from p2pool.drivers.keys.signers.place import key_place

    return key_address(key_place(key))


Found = tuple["ProviderFacts", "StakeFacts", "Reading[tuple[OwnNode, ...]]", Earned | None]


def _read(config: ConfigFile, provider: "Address", pool_id: int | None) -> Found:
    import trio

    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.reads import Reader
    from p2pool.drivers.config.schema import load_chain

    settings = load_chain(config.path, config.environment)

    async def look() -> Any:
        reader = await Reader.at_head(PoolContracts.of(settings))
        facts, stake = await reader.provider(provider), await reader.stake(provider)
        nodes = await reader.own_nodes(provider)
        listed = [one.node_id for one in nodes.value or ()]
        earned = None if pool_id is None else await earned_by(reader, pool_id, listed)
        return facts, stake, nodes, earned

    found: Found = trio.run(look)
    return found


# --- for people ---------------------------------------------------------------------------------


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _said(reading: "Reading[Any]", text: Callable[[Any], str] = lambda _: "yes") -> str:
    """A fact in words; absent is a no."""
    if reading.why:
        return f"unknown: {reading.why}"
    return "no" if reading.value is None else text(reading.value)


def _pairs(facts: "ProviderFacts", stake: "StakeFacts") -> list[tuple[str, str]]:
    staked, needed = facts.stake_wei.value, facts.minimum_wei.value
    pairs = [
        ("provider", "0x" + facts.address.hex()),
        ("registered", _said(facts.registered)),
        ("whitelisted", _said(facts.whitelisted)),
        ("stake", _said(facts.stake_wei, tokens_text)),
        ("needed", _said(facts.minimum_wei, tokens_text)),
    ]
    if staked is not None and needed is not None and not facts.registered.why:
        registered = facts.registered.value is not None
        if registered and staked < needed:
            lacks = f"{tokens_text(needed - staked)} too little: p2pool provider stake add"
            pairs.append(("", lacks))
        spare = staked - (needed if registered else 0)
        if spare > 0:
            pairs.append(("spare", f"{tokens_text(spare)}: p2pool provider stake reclaim"))
    pairs += _unbonding(facts, stake)
    pairs += [
        ("tokens", _said(facts.tokens_wei, tokens_text)),
        ("coin", _said(facts.coin_wei, lambda wei: coin_text(wei, "coin"))),
        ("as of", utc(facts.time_s)),
    ]
    return pairs


def _unbonding(facts: "ProviderFacts", stake: "StakeFacts") -> list[tuple[str, str]]:
    if stake.unbonds.why:
        return [("unbonding", f"unknown: {stake.unbonds.why}")]
    pairs: list[tuple[str, str]] = []
    if due := stake.due_wei(facts.time_s):
        pairs.append(("unbonded", f"{tokens_text(due)}: p2pool provider withdraw"))
    for one in stake.unbonds.value or ():
        if one.due_s > facts.time_s:
            pairs.append(("unbonding", f"{tokens_text(one.amount_wei)} until {utc(one.due_s)}"))
    return pairs


# --- for programs -------------------------------------------------------------------------------


def _document(
    facts: "ProviderFacts", stake: "StakeFacts", nodes: "Reading[tuple[OwnNode, ...]]"
) -> dict[str, Any]:
    def amount(reading: "Reading[int]") -> str | None:
        return None if reading.value is None else str(reading.value)

    def known(reading: "Reading[bool]") -> str:
        return reading.presence.value

    unbonds = stake.unbonds.value
    return {
        "account": "0x" + facts.address.hex(),
        "registered": known(facts.registered),
        "whitelisted": known(facts.whitelisted),
        "stake_wei": amount(facts.stake_wei),
        "stake_needed_wei": amount(facts.minimum_wei),
        "tokens_wei": amount(facts.tokens_wei),
        "coin_wei": amount(facts.coin_wei),
        "unbonding": None
        if unbonds is None
        else [{"amount_wei": str(one.amount_wei), "due_s": one.due_s} for one in unbonds],
        "unbonding_period_s": stake.unbonding_s.value,
        "withdrawable_wei": None if unbonds is None else str(stake.due_wei(facts.time_s)),
        "nodes": None
        if nodes.value is None
        else [
            {
                "node_id": "0x" + one.node_id.hex(),
                "compute_units": one.compute_units,
                "validated": one.validated,
                "in_a_pool": one.active,
            }
            for one in nodes.value
        ],
        "time_s": facts.time_s,
        "unknown": sorted({one for one in _whys(facts, stake, nodes) if one}),
    }


def _whys(
    facts: "ProviderFacts", stake: "StakeFacts", nodes: "Reading[tuple[OwnNode, ...]]"
) -> list[str]:
    readings = (
        *(facts.registered, facts.whitelisted, facts.stake_wei, facts.minimum_wei),
        *(facts.tokens_wei, facts.coin_wei, stake.unbonds, stake.unbonding_s, nodes),
    )
    return [one.why for one in readings]
