"""What only the source text says: strings after names, comments above constants, who reads what."""

import ast
import inspect
import re
import textwrap
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import p2pool

PACKAGE = Path(p2pool.__file__).resolve().parent


def strings_after(cls: type[Any]) -> dict[str, str]:
    """The string after each name that a class assigns."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found = {}
    for node, after in pairwise(body):
        name = _assigned(node)
        if name is not None and isinstance(after, ast.Expr):
            text = after.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[name] = " ".join(text.value.split())
    return found


def _assigned(node: ast.stmt) -> str | None:
    """The one name that a statement assigns."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    target = node.target if isinstance(node, ast.AnnAssign) else target
    return target.id if isinstance(target, ast.Name) else None


@cache
def sources() -> dict[str, str]:
    """The text of every module of the package, by its dotted name without `p2pool.`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


@cache
def _words() -> dict[str, frozenset[str]]:
    """The names in each module's text."""
    return {at: frozenset(re.findall(r"\w+", text)) for at, text in sources().items()}


def readers(name: str, beside: str) -> tuple[str, ...]:
    """The modules whose text has a name in it, `beside` excepted."""
    return tuple(at for at, words in _words().items() if at != beside and name in words)
