"""What the documents tell a reader to type exists.

Nothing is carried out: command lines are parsed by the command tree that `p2pool` itself uses.
"""

import re
from pathlib import Path

import click
import pytest

from p2pool.cli.main import cli
from tests.cli.command_tree import context_of
from tests.docs.markdown import Document, anchor, command_words

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "abi" / "README.md",
    ROOT / "bootstrap" / "README.md",
    ROOT / "CONTRIBUTING.md",
]
_PLACEHOLDER = re.compile(r"[A-Z_./0-9\[\]]+|.*\.\.\..*|\$.*")
"""What stands for a value in a document: NODE, TASK.0, 0x..., $HOME."""

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def problem(words: tuple[str, ...], *, whole: bool) -> str | None:
    """What `p2pool` would say to these words, None where it would take them.

    `whole`: arguments that it needs are there too, as they are where somebody copies the line.
    """
    command: click.Command = cli
    context = context_of(cli, "p2pool")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"{context.command_path} has no command {rest[0]!r}"
        command = found
        context = context_of(command, rest.pop(0), parent=context)
    if isinstance(command, click.Group) and whole and not rest:
        return f"{context.command_path} needs a command"
    try:
        given, extra, _ = command.make_parser(context).parse_args(args=rest)
        if extra:
            return f"{context.command_path} takes no {extra}"
        for parameter in command.get_params(context):
            _check(context, parameter, given.get(parameter.name or ""), whole)
    except click.UsageError as error:
        return f"{context.command_path}: {error.format_message()}"
    return None


def _check(context: click.Context, parameter: click.Parameter, value: object, whole: bool) -> None:
    """Raise `UsageError` for a value that the parameter does not take, or one that is missing."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = [one for one in values if isinstance(one, str)]
    if whole and parameter.required and not texts:
        raise click.MissingParameter(ctx=context, param=parameter)
    for text in texts:
        if not _PLACEHOLDER.fullmatch(text):
            parameter.type.convert(text, parameter, context)


@every_document
def test_every_command_line_exists(path: Path) -> None:
    """A reader who copies a line of a block gets a command, with flags and values that it has."""
    document = Document.read(path)
    wrong = [
        f"{path.name}:{number}: {said}"
        for lines, whole in ((document.commands(), True), (document.named(), False))
        for number, words in lines
        if (said := problem(words, whole=whole)) is not None
    ]
    assert not wrong, "\n".join(wrong)


def test_the_documents_hold_commands_and_links() -> None:
    """The two tests above look at something: a fence that is never closed hides nothing."""
    documents = [Document.read(path) for path in DOCUMENTS]
    assert sum(len(list(one.commands())) for one in documents) > 30
    assert sum(len(list(one.links())) for one in documents) > 20
    for path in DOCUMENTS:
        lines = path.read_text(encoding="utf-8").splitlines()
        fences = sum(line.lstrip().startswith("```") for line in lines)
        assert fences % 2 == 0, path


@pytest.mark.parametrize(
    "line",
    [
        "p2pool task sing",
        "p2pool task run --image busybox --loudly",
        "p2pool node drain",
        "p2pool task run --image busybox --restart sometimes",
        "p2pool node ls everything",
        "p2pool task",
    ],
)
def test_a_line_that_does_not_exist_is_found(line: str) -> None:
    """An unknown command, flag or value, an argument too few or too many."""
    assert problem(command_words(line), whole=True) is not None


def test_lines_are_read_as_a_shell_reads_them() -> None:
    """Comments, pipes and what follows `--` belong to somebody else."""
    assert command_words("p2pool volume export V | tar -xf -") == ("volume", "export", "V")
    assert command_words("p2pool task ls   # all of them") == ("task", "ls")
    assert command_words("p2pool task ls --key fd:3 3< <(cat f)") == ("task", "ls", "--key", "fd:3")
    said = "p2pool task run --image busybox -- sh -c 'echo a; sleep 9 --loudly'"
    assert problem(command_words(said), whole=True) is None


def test_anchors_are_made_as_github_makes_them() -> None:
    """Lower case, hyphens for blanks, no punctuation."""
    assert anchor("What is kept, and where: `peer.key`") == "what-is-kept-and-where-peerkey"
