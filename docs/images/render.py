"""Draws what a terminal showed as an SVG: `python docs/images/render.py first-tour.txt`.

The text is a real session, kept beside the picture; lines that begin with `$` are what was typed.
The picture loads nothing from elsewhere.
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WORDS = {r"\b(leader|running|healthy|yes)\b": "green", r"\b(suspect|unreachable)\b": "red"}


def drawn(text: str, title: str) -> str:
    """The picture of a session."""
    lines = text.rstrip().splitlines()
    console = Console(record=True, width=max(map(len, lines)) + 1, file=io.StringIO())
    for line in lines:
        shown = Text(line, style="bold" if line.startswith("$") else "")
        for pattern, colour in {} if line.startswith("$") else WORDS.items():
            shown.highlight_regex(pattern, colour)
        console.print(shown, no_wrap=True, soft_wrap=True)
    picture = console.export_svg(title=title, unique_id="session")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def main() -> None:
    """Write the picture beside the text."""
    source = Path(sys.argv[1])
    picture = drawn(source.read_text(encoding="utf-8"), "p2pool")
    source.with_suffix(".svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
