"""What the tests read in a Markdown file: commands in it, where its links lead, its headings.

Intuition: not a parser of Markdown. A fence opens and closes a block; inside one, a line that
begins with `p2pool` is a command line as a shell would take it; outside, `[text](target)` is a link
and `# text` a heading, whose anchor is made as GitHub makes it.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

_FENCE = re.compile(r"^\s*(```+|~~~+)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"`[^`]*`")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_OUTSIDE = re.compile(r"^[a-z][a-z0-9+.-]*:")
_ENDS = ("|", "||", "&", "&&", ";")
_REDIRECTIONS = ("<", ">")
"""What a shell reads as the end of a command's own words."""


@attrs.frozen
class Document:
    """A file in lines, each with whether it stands inside a fenced block."""

    path: Path
    lines: tuple[tuple[int, str, bool], ...]

    @classmethod
    def read(cls, path: Path) -> "Document":
        """The file at a path."""
        found, fence = [], ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            mark = _FENCE.match(line)
            if mark is not None and (not fence or mark[1].startswith(fence)):
                fence = "" if fence else mark[1]
                continue
            found.append((number, line, bool(fence)))
        return cls(path, tuple(found))

    def commands(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Each `p2pool` command in a block: its line, and its words after `p2pool`."""
        begun, first = "", 0
        for number, line, fenced in self.lines:
            if not fenced:
                continue
            text = line.strip().removeprefix("$ ")
            if not begun and not re.match(r"p2pool(\s|$)", text):
                continue
            first = first if begun else number
            begun += text.removesuffix("\\")
            if not text.endswith("\\"):
                yield first, command_words(begun)
                begun = ""

    def named(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Each `p2pool` command that the prose names between backticks."""
        for number, line, fenced in self.lines:
            for code in () if fenced else _CODE.findall(line):
                if code.startswith("`p2pool "):
                    yield number, command_words(code.strip("`"))

    def links(self) -> Iterator[tuple[int, str]]:
        """Where links lead that stay in this repository."""
        for number, line, fenced in self.lines:
            for plain, attribute in () if fenced else _LINK.findall(_CODE.sub("", line)):
                target = plain or attribute
                if not _OUTSIDE.match(target):
                    yield number, target

    def anchors(self) -> set[str]:
        """The anchors of its headings."""
        seen: Counter[str] = Counter()
        found = set()
        for _, line, fenced in self.lines:
            heading = None if fenced else _HEADING.match(line)
            if heading is not None:
                name = anchor(heading[1])
                found.add(f"{name}-{seen[name]}" if seen[name] else name)
                seen[name] += 1
        return found


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def command_words(line: str) -> tuple[str, ...]:
    """The words after `p2pool`, up to a comment, a redirection, a pipe or the next command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word[:1] in _REDIRECTIONS:  # `3< FILE`: the descriptor stands before it.
            if words and words[-1].isdigit():
                words.pop()
            break
        if word in _ENDS:
            break
        words.append(word)
    return tuple(words[1:])
