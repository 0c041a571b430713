"""`p2pool validator run` and `p2pool validator check`: nodes show what hardware they have."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.shared.chain import config_file, config_option, pool_option
from p2pool.cli.shared.options import json_option, key_options
from p2pool.cli.shared.output import write_json, write_json_line, write_line
from p2pool.cli.shared.process import begin_logs, log_options, run_until_signal
from p2pool.cli.shared.types import AccountType, FilePath, Number, Span
from p2pool.client.discovery import agent_directory
from p2pool.codec.json.hex import address_text
from p2pool.model import limits

if TYPE_CHECKING:
    from p2pool.client.agent_client import AgentClient
    from p2pool.model.ids import Address
    from p2pool.validator.process.challenges import Result
    from p2pool.validator.process.options import ValidatorOptions
    from p2pool.validator.process.validator import ValidatorProcess

FOLDER = "validator"
BY_HAND = "validator-checks"
DAY_S = 86_400
NOT_VALID, INCONCLUSIVE = 1, 5
"""Exit codes of a check; one that nobody can decide may be another another time."""


def validator_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a challenge needs, given as one function that makes the options of a process."""

    @functools.wraps(command)
    def with_maker(
        *,
        key: str | None,
        passphrase_file: str | None,
        config: Path | None,
        data_dir: Path | None,
        pool_id: int | None,
        policy: Path | None,
        figures: Path | None,
        images: tuple[str, ...],
        **given: Any,
    ) -> None:
        files = Files(
            key=key,
            passphrase_file=passphrase_file,
            config=config,
            data_dir=data_dir,
            pool_id=pool_id,
            policy=policy,
            figures=figures,
            images=images,
        )
        command(files=files, **given)

    for option in (
        click.option(
            "--image",
            "images",
            multiple=True,
            metavar="DIGEST",
            help="Accept this prover's image, and no other. Repeatable. Default: any that the"
            " node's owner allows.",
        ),
        click.option(
            "--figures",
            type=FilePath(dir_okay=False),
            help="A table of expected figures instead of the one that comes with this version.",
        ),
        click.option(
            "--policy",
            type=FilePath(dir_okay=False),
            help="What follows from what is found. Default: an empty one, a dry run.",
        ),
        click.option(
            "--data-dir",
            type=FilePath(file_okay=False),
            metavar="DIR",
            help="Its findings, evidence and peer key, of one account and one process. Default:"
            " validator/ in the agent's data directory, validator-checks/ for a check by hand.",
        ),
        pool_option,
        config_option,
        key_options,
    ):
        with_maker = option(with_maker)
    return with_maker


@attrs.frozen
class Files:
    """What a command was told, unread."""

    key: str | None
    passphrase_file: str | None
    config: Path | None
    data_dir: Path | None
    pool_id: int | None
    policy: Path | None
    figures: Path | None
    images: tuple[str, ...]

    def options(
        self, log_level: str | None, log_format: str | None, folder: str = FOLDER, **more: Any
    ) -> "ValidatorOptions":
        """The options of a process; reads every file, and the passphrase last. `folder`: in the
        agent's data directory, where no directory was named."""
        import os

        from p2pool.cli.shared.signer import opened_account
        from p2pool.drivers.config.schema import load_config
        from p2pool.drivers.paths import absolute_path
        from p2pool.model.ids import PoolRef
        from p2pool.validator.challenge.figures_file import read_figures
        from p2pool.validator.policy.policy_file import read_policy
        from p2pool.validator.policy.rules import Policy
        from p2pool.validator.process.options import ValidatorOptions

        named = config_file(self.config, None)
        settings = load_config(named.path, named.environment)
        settings = begin_logs(settings, log_level, log_format)
        chain = settings.chain
        pool_id = settings.pool.id if self.pool_id is None else self.pool_id
        agent = agent_directory(None, os.environ)
        directory = absolute_path(self.data_dir) if self.data_dir else agent / folder
        table = read_figures(self.figures)
        return ValidatorOptions(
            directory=directory,
            transactions=agent,
            pool=PoolRef(chain.id, chain.addresses.pool, pool_id),
            chain=chain,
            policy=Policy() if self.policy is None else read_policy(self.policy),
            table=table,
            sizes=table.sizes,
            bootstrap=settings.network.bootstrap,
            images=self.images,
            account=opened_account(self.key, self.passphrase_file),
            **more,
        )


@click.command("run")
@validator_options
@click.option("--once", is_flag=True, help="Challenge each node once, do what follows, and end.")
@click.option(
    "--every",
    "every_s",
    type=Span(1, DAY_S),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How often a node is challenged that is validated and passes, such as 30m.",
)
@click.option(
    "--at-once",
    type=Number(1, limits.VALIDATOR_PROVIDERS_AT_ONCE_MAX),
    default=4,
    show_default=True,
    help="How many providers are challenged at the same time; all nodes of one always are.",
)
@click.option(
    "--metrics-bind",
    default="",
    metavar="HOST:PORT",
    help="Serve Prometheus metrics there. Default: nowhere.",
)
@click.option(
    "--verdicts-from",
    metavar="URL|DIR",
    help="An agent of the pool that tells what other validators found, and what nodes offer the"
    " pool, as --agent names one for other commands; its token comes from P2POOL_TOKEN_FILE."
    " Default: nobody is asked.",
)
@log_options
@json_option
def run(
    files: Files,
    once: bool,
    verdicts_from: str | None,
    every_s: int,
    at_once: int,
    metrics_bind: str,
    log_level: str | None,
    log_format: str | None,
    as_json: bool,
) -> None:
    """Challenge the nodes of a pool, and those that wait to be validated, until SIGINT or SIGTERM.

    It needs an account with the validators' role. What it finds is kept with its evidence, signed,
    and offered to the pool's members; what follows is in the policy, and nothing is sent to the
    chain until that says so.
    """
    from p2pool.validator.process.scrapes import bind_of
    from p2pool.validator.process.validator import run_validator

    if metrics_bind:
        bind_of(metrics_bind)
    options = files.options(
        log_level,
        log_format,
        every_s=every_s,
        at_once=at_once,
        metrics_bind=metrics_bind,
        agent=None if verdicts_from is None else _agent(verdicts_from),
    )

    def started(process: "ValidatorProcess") -> None:
        told = {
            "account": address_text(options.address),
            "pool_id": options.pool.pool_id,
            "dry_run": options.policy.dry_run,
            "directory": str(options.directory),
        }
        if as_json:
            write_json_line("validator-started", told)
        sys.stdout.flush()

    async def main(stop: Any) -> None:
        for one in await run_validator(options, stop, started, once=once):
            if as_json:
                write_json_line("validator-check", _document(one))
            else:
                write_line(_line(one))

    run_until_signal(main)


@click.command("check")
@click.argument("node", metavar="NODE", type=AccountType())
@validator_options
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Where the document of evidence goes. Default: it stays in the data directory.",
)
@log_options
@json_option
@click.pass_context
def check(
    context: click.Context,
    node: "Address",
    files: Files,
    out: Path | None,
    log_level: str | None,
    log_format: str | None,
    as_json: bool,
) -> None:
    """Challenge a node once by hand, as validator, and print the verdict. NODE is an address.

    Nothing is sent to the chain. The exit code is 0 if the node shows what it claims, 1 if it does
    not, and 5 if nobody can say, as of one that is leased.
    """
    import trio

    from p2pool.model.ids import NodeId
    from p2pool.validator.process.validator import check_node

    options = files.options(log_level or "warning", log_format, folder=BY_HAND)
    found = trio.run(check_node, options, NodeId(node))
    document = options.directory / "evidence"
    if found.signed is not None:
        document = _saved(found, options, out)
    told = {**_document(found), "document": str(document) if found.signed is not None else None}
    if as_json:
        write_json("validator-check", told)
    else:
        write_line(_line(found))
        for shown in told["shown"]:
            write_line(
                f"  {shown['uuid']}: at least {shown['int8_ops_per_s'] / 1e12:.3g} TOP/s of int8,"
                f" {shown['memory_bytes_per_s'] / 1e9:.3g} GB/s,"
                f" {shown['memory_bytes'] / 1e9:.3g} GB filled"
            )
        if found.signed is not None:
            write_line(f"evidence: {document}")
    context.exit(_exit_code(found))


def _agent(given: str) -> "AgentClient":
    import os

    from p2pool.client.agent_client import AgentClient
    from p2pool.client.discovery import find_agent

    return AgentClient.of(find_agent(given, os.environ))


def _exit_code(found: "Result") -> int:
    if found.outcome.verdict is None:
        return INCONCLUSIVE
    conclusion = found.outcome.verdict.verdict.conclusion.value
    return {"valid": 0, "invalid": NOT_VALID}.get(conclusion, INCONCLUSIVE)


def _saved(found: "Result", options: "ValidatorOptions", out: Path | None) -> Path:
    """Where the document is; a copy of it, if a place was named."""
    from p2pool.codec.validation import evidence_bytes
    from p2pool.drivers.paths import absolute_path
    from p2pool.model.errors import StoreFailed
    from p2pool.validator.journal.disk import replace_whole
    from p2pool.validator.records.records import place_of

    assert found.signed is not None
    if out is None:
        return place_of(options.directory, found.record)
    path = absolute_path(out)
    try:
        replace_whole(path, evidence_bytes(found.signed))
    except OSError as error:
        raise StoreFailed(
            f"The evidence cannot be written to {path}: {error.strerror}.",
            hint=f"It is kept as {place_of(options.directory, found.record)}.",
        ) from error
    return path


def _document(found: "Result") -> dict[str, Any]:
    from p2pool.proofs.validation.bounds import shown

    outcome, finding = found.outcome, found.record.finding
    verdict = outcome.verdict.verdict if outcome.verdict is not None else None
    evidence = found.signed.evidence if found.signed is not None else None
    return {
        "node": address_text(finding.node_id),
        "provider": address_text(finding.provider),
        "conclusion": "inconclusive" if verdict is None else verdict.conclusion.value,
        "finding": finding.kind.value,
        "why": found.record.why,
        "proven": finding.proven,
        "code": outcome.code or None,
        "retry_at_ms": outcome.retry_at_ms or None,
        "evidence": None if verdict is None else "0x" + verdict.evidence.hex(),
        "shown": [attrs.asdict(one) for one in shown(evidence.transcript)] if evidence else [],
    }


def _line(found: "Result") -> str:
    finding = found.record.finding
    return f"{address_text(finding.node_id)}: {finding.kind.value}: {found.record.why}"
