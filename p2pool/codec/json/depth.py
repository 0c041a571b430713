"""How deep a JSON text is nested, found without recursion before a parser recurses into it.

Python's parser recurses in C and relies on the interpreter's recursion limit; a program in which
any library has raised that limit dies of a segmentation fault on a few kilobytes of `[`.

Invariant: each character is looked at once. A text that is never closed goes to the end, and
nothing is tried again behind its quotes (`++`, `*+`), which would cost the square of their number.
"""

import re

from p2pool.model import limits

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)


def too_deep(text: str, most: int = limits.JSON_MAX_DEPTH) -> bool:
    """Whether arrays and objects are nested deeper than `most`. Brackets in strings do not count;
    for text that is not JSON the answer means nothing."""
    if text.count("[") + text.count("{") <= most:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > most:
                return True
        elif token[0] in "]}":
            depth -= 1
    return False
