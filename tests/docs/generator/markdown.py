"""Markdown that reads well as plain text, and the marked parts of a page."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH = 100
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
BEGINNING = re.compile(r"<!-- generated: ([a-z-]+) -->")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose columns stand under each other; columns without any content are left out."""
    cells = [[_cell(value) for value in row] for row in rows]
    kept = [at for at in range(len(head)) if any(row[at] for row in cells)]
    shown = [[head[at] for at in kept], *([row[at] for at in kept] for row in cells)]
    # The last column is ragged: padding it would only make long lines longer.
    widths = [max(3, *(len(row[at]) for row in shown)) for at in range(len(kept) - 1)] + [0]
    ruled = [shown[0], ["-" * (width or 3) for width in widths], *shown[1:]]
    return "".join(
        f"| {' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))} |\n"
        for row in ruled
    )


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def paragraphs(text: str | None) -> str:
    """A docstring as paragraphs of the page's width."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(textwrap.fill(" ".join(block.split()), WIDTH) for block in blocks) + "\n"


def sentence(text: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(re.split(r"\n\s*\n", inspect.cleandoc(text or ""))[0].split())


def names_of(page: str) -> list[str]:
    """The names of a page's marked parts, in order."""
    return BEGINNING.findall(page)


def rewritten(page: str, parts: Mapping[str, str]) -> str:
    """A page with its marked parts as they are given. KeyError: a part that nothing makes."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{parts[match[2]].strip()}\n\n{match[3]}"

    return PART.sub(part, page)


def prose_of(page: str) -> str:
    """A page without what is generated."""
    return PART.sub("", page)
