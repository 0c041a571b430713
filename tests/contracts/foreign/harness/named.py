"""What p2pool's sources name of contracts: each `function(...)`, `topic(...)` and `Function(...)`.

Intuition: a name may stand in the call, in a constant of this module or another, in a local
variable, or in a list that a loop goes through. Each name is followed to the texts that it may
stand for.

Invariants: a call whose names lead to no text is told (`unread`), never passed over.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[4]
ABI = "p2pool/drivers/chain/abi.py"
"""Makes the functions by their names, which are its arguments."""
Bound = list[tuple[str, ast.expr, int | None]]
"""Name, the expression that it stands for, and which part of it; None: the whole."""


@attrs.frozen
class Module:
    """A file, and what its names are bound to."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        """As one writes it in messages."""
        return str(self.path.relative_to(ROOT))

    def imported(self, name: str) -> "tuple[Module, str] | None":
        """Where a name comes from, and what it is called there; empty: it is that module."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("p2pool"):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) != name:
                    continue
                place = ROOT.joinpath(*(node.module or "").split("."))
                if (inner := place / f"{alias.name}.py").is_file():
                    return module(inner), ""
                return module(place.with_suffix(".py")), alias.name
        return None


@cache
def module(path: Path) -> Module:
    """A file, parsed once."""
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return Module(path, tree)


def _bound(scope: ast.AST) -> Bound:
    """What names are bound to in a scope, by assignments and by loops."""
    found: Bound = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found += _targets(target, node.value, loops=False)
        elif isinstance(node, ast.For | ast.comprehension):
            found += _targets(node.target, node.iter, loops=True)
    return found


def _targets(target: ast.expr, value: ast.expr, *, loops: bool) -> Bound:
    if isinstance(target, ast.Name):
        # The part -1 is each of them.
        return [(target.id, value, -1 if loops else None)]
    if not isinstance(target, ast.Tuple):
        return []
    if not loops and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=False)
        return [one for t, v in pairs for one in _targets(t, v, loops=False)]
    named = [(at, one.id) for at, one in enumerate(target.elts) if isinstance(one, ast.Name)]
    return [(name, value, at) for at, name in named]


@attrs.frozen
class Scope:
    """Where an expression stands: a module, and the functions around it, innermost first."""

    module: Module
    around: tuple[ast.AST, ...]

    def parts(self, node: ast.expr) -> list[ast.expr]:
        """The elements of a list that stands there, or that a name stands for."""
        if isinstance(node, ast.Tuple | ast.List):
            return [p for one in node.elts for p in self._spread(one)]
        if isinstance(node, ast.IfExp):
            return [*self.parts(node.body), *self.parts(node.orelse)]
        if isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            return [ast.Tuple([k, v], ast.Load()) for k, v in zip(keys, node.values, strict=True)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self.parts(node.func.value) if node.func.attr == "items" else []
        if isinstance(node, ast.Name):
            return [
                p for value, part in self._of(node.id) if part is None for p in self.parts(value)
            ]
        return []

    def _spread(self, one: ast.expr) -> list[ast.expr]:
        return self.parts(one.value) if isinstance(one, ast.Starred) else [one]

    def _of(self, name: str) -> list[tuple[ast.expr, int | None]]:
        for scope in (*self.around, self.module.tree):
            if found := [(value, part) for n, value, part in _bound(scope) if n == name]:
                return found
        return []

    def texts(self, node: ast.expr) -> set[str]:
        """The texts that an expression may be; empty: nobody can tell."""
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else set()
        if isinstance(node, ast.IfExp):
            return self.texts(node.body) | self.texts(node.orelse)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._nth(node.value, node.slice.value)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            there = self.module.imported(node.value.id)
            return Scope(there[0], ()).texts(ast.Name(node.attr)) if there is not None else set()
        if not isinstance(node, ast.Name):
            return set()
        found: set[str] = set()
        for value, part in self._of(node.id):
            if part is None:
                found |= self.texts(value)
            elif part == -1:
                found |= {text for one in self.parts(value) for text in self.texts(one)}
            else:
                for one in self.parts(value):
                    found |= self._nth(one, part)
        there = None if found else self.module.imported(node.id)
        return Scope(there[0], ()).texts(ast.Name(there[1])) if there and there[1] else found

    def _nth(self, node: ast.expr, at: object) -> set[str]:
        """The texts of one place of a tuple, or of each that a name may stand for."""
        if isinstance(node, ast.IfExp):
            return self._nth(node.body, at) | self._nth(node.orelse, at)
        if isinstance(node, ast.Tuple) and isinstance(at, int) and at < len(node.elts):
            return self.texts(node.elts[at])
        if isinstance(node, ast.Name):
            values = [value for value, part in self._of(node.id) if part is None]
            return {text for value in values for text in self._nth(value, at)}
        return set()


def _walk(
    node: ast.AST, around: tuple[ast.AST, ...]
) -> Iterator[tuple[ast.Call, tuple[ast.AST, ...]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, around
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _walk(child, (child, *around) if inner else around)


def _is_of_abi(one: Module, called: ast.expr, kind: str) -> bool:
    """Whether a call is of that name in `ABI`, however the module came by it."""
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        there = one.imported(called.value.id) if called.attr == kind else None
    else:
        there = one.imported(kind) if isinstance(called, ast.Name) and called.id == kind else None
    return there is not None and there[0].name == ABI


@cache
def _found(kind: str) -> tuple[frozenset[tuple[str, str]], tuple[str, ...]]:
    read: set[tuple[str, str]] = set()
    unread: list[str] = []
    for path in sorted((ROOT / "p2pool").rglob("*.py")):
        one = module(path)
        if one.name == ABI:
            continue
        for call, around in _walk(one.tree, ()):
            if not _is_of_abi(one, call.func, kind):
                continue
            scope = Scope(one, around)
            contracts, names = (scope.texts(arg) for arg in call.args[:2])
            read |= {(contract, name) for contract in contracts for name in names}
            if not contracts or not names:
                unread.append(f"{one.name}:{call.lineno}")
    return frozenset(read), tuple(unread)


def named(kind: str) -> set[tuple[str, str]]:
    """Contract and name of each call of `function`, `topic` or `Function` in p2pool's sources."""
    return set(_found(kind)[0])


def unread(kind: str) -> tuple[str, ...]:
    """Where a call is whose names lead to no text."""
    return _found(kind)[1]
