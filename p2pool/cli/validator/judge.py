"""`p2pool validator judge`: one round of judging submitted work."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import config_file, config_option, pool_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.types import FilePath
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import ChainUnavailable, Misconfigured
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import ChainConfig
    from p2pool.validator.judging.judged_work import Judged
    from p2pool.validator.judging.rounds import Round
    from p2pool.validator.policy.rules import WorkRule


NOBODY = Address(bytes(ADDRESS_BYTES))
"""Whose findings they are: nothing follows from them here."""


@click.command("judge")
@click.option(
    "--policy",
    "policy_file",
    type=FilePath(dir_okay=False),
    required=True,
    metavar="FILE",
    help="The policy file: its section [work] names the judge.",
)
@click.option(
    "--data-dir",
    type=FilePath(file_okay=False),
    required=True,
    metavar="DIR",
    help="Where what was read and judged is kept: the validator's directory.",
)
@pool_option
@config_option
@json_option
def judge(
    policy_file: Path, data_dir: Path, pool_id: int | None, config: Path | None, as_json: bool
) -> None:
    """Judge the work that nodes submitted to a pool since the last time, some pieces at a time.

    It sends nothing, and needs no key: what follows from a verdict is for p2pool validator
    invalidate-work, or for the policy. A judge that fails has no word on a piece, and is asked
    again.
    """
    from p2pool.drivers.config.schema import load_chain, load_config
    from p2pool.validator.policy.policy_file import read_policy

    rule = read_policy(policy_file).work
    if not rule.judge:
        raise Misconfigured(
            f"The policy {policy_file} names no judge of work.",
            hint='Name one: [work] judge = "re-execution". docs/validators.md, "Judging work".',
        )
    found = config_file(config, None)
    chain = load_chain(found.path, found.environment)
    if pool_id is None:
        pool_id = load_config(found.path, found.environment).pool.id
    done = _round_of(chain, PoolRef(chain.id, chain.addresses.pool, pool_id), rule, data_dir)
    if as_json:
        write_json("judged-work", _document(pool_id, done))
    else:
        _tell(pool_id, done)
    if done.unread:
        raise ChainUnavailable(
            f"What was submitted lately could not be read: {done.unread}",
            hint="What waited was judged. Run it again for the rest.",
        )


def _round_of(chain: "ChainConfig", pool: PoolRef, rule: "WorkRule", directory: Path) -> "Round":
    import trio

    from p2pool.drivers.agent_log import configure_logs
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.validator.judging.rounds import WorkChain, WorkJudging

    configure_logs(level="warning")  # On standard error: documents stand on standard output.

    async def main() -> "Round":
        where = WorkChain(PoolContracts.of(chain), chain.final_depth)
        judging = WorkJudging.of(rule, where, directory, pool)
        assert judging is not None, "the policy names a judge"
        done, _ = await judging.round(NOBODY, lambda: int(time.time() * 1000))
        return done

    return trio.run(main)


def _document(pool_id: int, done: "Round") -> dict[str, Any]:
    return {
        "pool_id": pool_id,
        "judged": [_piece(one) for one in done.judged],
        "postponed": [one.evidence for one in done.postponed],
        "waiting": done.waiting,
        "unread": done.unread,
    }


def _piece(one: "Judged") -> dict[str, Any]:
    return {
        "key": "0x" + one.work.key.hex(),
        "node_id": address_text(one.work.node_id),
        "provider": address_text(one.work.provider),
        "units": str(one.work.units),
        "block": one.work.block,
        "conclusion": one.verdict.conclusion.value,
        "wrong_units": str(one.wrong_units),
        "evidence": one.verdict.evidence,
    }


def _tell(pool_id: int, done: "Round") -> None:
    for one in done.judged:
        told = _piece(one)
        click.echo(
            f"{told['conclusion']}: {told['key']} of {told['node_id']}, {told['units']} units"
        )
        click.echo(f"  {told['evidence']}")
        if one.wrong_units:
            click.echo(
                f"  p2pool validator invalidate-work {told['key']} --units {told['wrong_units']}"
                f" --pool {pool_id}"
            )
    for verdict in done.postponed:
        click.echo(f"asked again later: {verdict.evidence}")
    click.echo(f"{len(done.judged)} judged, {done.waiting} waiting.")
