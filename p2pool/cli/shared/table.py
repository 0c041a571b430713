"""Tables whose cells fit: columns side by side, as the table library would write them.

Importing that library costs more than a command that reads has to spend, and a table that fits its
line needs nothing of it. One that does not fit, or has letters wider than one place, is left to it.
"""

import os
import shutil
import sys
from collections.abc import Sequence

_GAP = "  "


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], wide: int) -> str | None:
    """The table as text without the last line end; None if it takes the library. `wide`: how many
    letters a line has where standard output is no terminal."""
    everything = [columns, *rows]
    if not all(cell.isascii() for row in everything for cell in row):
        return None
    widths = [max(len(row[at]) for row in everything) for at in range(len(columns))]
    terminal = sys.stdout.isatty()
    room = shutil.get_terminal_size().columns if terminal else wide
    if sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        return None
    lines = [
        _GAP.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in everything
    ]
    if terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join(lines)
