"""The command `p2pool`, which imports a command only when somebody calls it.

`--help` answers in a tenth of a second, so this module imports nothing heavy and the table below
carries each command's one line. Every command takes `--json`; `cli.errors` alone maps errors to
exit codes.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import NoReturn

import click

from p2pool.cli import errors
from p2pool.cli.documents import forget_warnings
from p2pool.cli.lazy import LazyGroup
from p2pool.cli.shared.environment import check_environment
from p2pool.cli.shared.streams import drop, flush_streams, mend_streams
from p2pool.client.errors import heard, misread
from p2pool.drivers.input_files import forget_input
from p2pool.model.errors import P2poolError

# Name: module and attribute of the click command, and its line in the list.
COMMANDS: dict[str, tuple[str, str]] = {
    "access": ("p2pool.cli.access.group:access", "Give others rights in a pool, and take them."),
    "agent": ("p2pool.cli.agent.group:agent", "Run and inspect the agent of this machine."),
    "bootstrap": ("p2pool.cli.bootstrap:bootstrap", "Introduce peers to each other."),
    "dev": ("p2pool.cli.dev:dev", "Run a whole pool on this machine."),
    "node": ("p2pool.cli.node.group:node", "List, register, drain and ban nodes."),
    "pool": ("p2pool.cli.pool.group:pool", "Found, manage and recover a pool."),
    "provider": (
        "p2pool.cli.provider.group:provider",
        "Stake, register and leave the network, as a provider.",
    ),
    "task": ("p2pool.cli.task.group:task", "Run, watch and stop tasks."),
    "validator": (
        "p2pool.cli.validator.group:validator",
        "Challenge nodes, validate them, and act on those that cheat.",
    ),
    "validation": (
        "p2pool.cli.validation:validation",
        "What validators found, and the evidence of it.",
    ),
    "verify": (
        "p2pool.cli.verify.group:verify",
        "Check proofs: who leads, who lied, what hardware a node showed.",
    ),
    "volume": ("p2pool.cli.volume:volume", "List, export and remove what tasks keep here."),
    "wallet": (
        "p2pool.cli.wallet:wallet",
        "Make and show key files; send what was signed elsewhere.",
    ),
}


@click.group(
    name="p2pool",
    cls=LazyGroup,
    table=COMMANDS,
    epilog=errors.EXIT_CODES_HELP,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--version", is_flag=True, help="Show the version and the commit, and exit.")
@click.option("--json", "as_json", is_flag=True, hidden=True)
@click.pass_context
def cli(context: click.Context, version: bool, as_json: bool) -> None:
    """A compute pool that needs no server."""
    if version:
        _say_version(as_json)
        context.exit()
    if as_json:
        raise click.UsageError("--json stands behind the command.", context)
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.", context)


def _say_version(as_json: bool) -> None:
    from p2pool.cli.shared.output import write_json
    from p2pool.drivers.build import this_build

    build = this_build()
    if as_json:
        write_json(
            "version", {"version": build.version, "commit": build.commit, "dirty": build.dirty}
        )
    else:
        click.echo(f"p2pool {build}")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """The console script: run a command and end the process with its exit code."""
    mend_streams()
    if os.environ.get("HOME") == "":
        del os.environ["HOME"]  # The same as none: else it would mean the root directory.
    given = sys.argv[1:] if args is None else args
    try:
        code = run(given)
    except KeyboardInterrupt:  # Another one, while the first was still being told of.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = _interrupted(wants_json(given))
    # From here on an interruption could only spoil the exit code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failed = flush_streams()
    sys.exit(_unwritten(failed) if failed and code == errors.OK else code)


def _while_writing(error: BaseException) -> bool:
    """Whether it came up where a command writes its answer: without a buffer (PYTHONUNBUFFERED)
    there is nothing left to flush afterwards."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    parts = PurePath(last.tb_frame.f_code.co_filename).parts if last is not None else ()
    return bool({"click", "rich", "cli"} & set(parts))


def _unwritten(reason: str) -> int:
    errors.say(f"error: Standard output cannot be written: {reason}.")
    return errors.FAILED


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code: prints known errors, raises our own bugs."""
    as_json = wants_json(args)
    heard.clear()
    forget_warnings()
    forget_input()
    try:
        if not any(word in _ASKS for word in _options(args)):
            check_environment()
        result = cli.main(args=list(args), prog_name="p2pool", standalone_mode=False)
    except click.ClickException as error:
        if as_json:
            errors.print_json_error("usage", error.format_message(), error.exit_code)
        else:
            with suppress(OSError):  # The exit code tells of it anyway.
                errors.print_usage_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted(as_json)
    except BrokenPipeError:
        # Our reader has seen enough (`p2pool task ls | head -1`).
        drop(sys.stdout)
        return errors.FAILED
    except BaseExceptionGroup as group:
        return _run_group(group, as_json)
    except Exception as error:
        if isinstance(error, OSError) and not error.filename:
            failed = flush_streams()
            if failed or _while_writing(error):
                return _unwritten(failed or error.strerror or str(error))
        known = _as_known(error)
        if known is None:
            raise
        errors.print_error(known, as_json)
        return errors.exit_code(known)
    return result if isinstance(result, int) else errors.OK


def _as_known(error: BaseException) -> P2poolError | None:
    """A failure of the world, or of an answer that no agent gives; None: a bug of ours."""
    if isinstance(error, P2poolError):
        return error
    from p2pool.drivers import failures

    return failures.as_known(error) or misread(error)


def _interrupted(as_json: bool) -> int:
    if as_json:
        errors.print_json_error("interrupted", "Interrupted.", errors.INTERRUPTED)
    else:
        errors.say("interrupted")
    return errors.INTERRUPTED


def wants_json(args: Sequence[str]) -> bool:
    """Whether `--json` is among the options; what follows `--` is a task's own command."""
    return "--json" in _options(args)


_ASKS = ("-h", "--help", "--version")
"""What only asks about this program."""


def _options(args: Sequence[str]) -> list[str]:
    """The words before `--`."""
    words = list(args)
    return words[: words.index("--")] if "--" in words else words


def _run_group(group: BaseExceptionGroup[BaseException], as_json: bool) -> int:
    """A nursery ended with errors: print each known one once, raise any other as our bug."""
    from p2pool.drivers import failures

    found = list(failures.leaves(group))
    if any(isinstance(error, KeyboardInterrupt) for error in found):
        return _interrupted(as_json)
    known = [_as_known(error) for error in found]
    told = {str(error): error for error in known if error is not None}
    if not told or None in known:
        raise group
    for error in told.values():
        errors.print_error(error, as_json)
    return errors.exit_code(next(iter(told.values())))
