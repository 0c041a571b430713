"""All places of the package where something is called in a thread, read from its source.

A site is known by its module, the function that it is in, and what is called there: a line that
moves stays the same site, another call is another one.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import attrs

import p2pool

PACKAGE = Path(p2pool.__file__).resolve().parent

WRAPPERS = {
    "drivers/containers/process/runtime.py": {"_in_thread"},
    "drivers/containers/docker/disk_usage.py": {"ask"},
    "drivers/containers/docker/helper.py": {"ask"},
    "drivers/containers/docker/prover.py": {"ask"},
    "drivers/containers/docker/images/store.py": {"ask"},
    "drivers/containers/docker/networks/isolation.py": {"_ask"},
    "drivers/containers/docker/networks/task_network.py": {"_ask"},
    "drivers/containers/docker/engine/attachment.py": {"ask"},
    "drivers/containers/docker/engine/client.py": {"ask"},
    "drivers/containers/docker/runtime.py": {"_ask"},
    "drivers/store/store.py": {"async_run"},
}
"""Functions that hand what they are given to a thread, by the modules where they are called."""


@attrs.frozen(order=True)
class Site:
    """`name`: module, function, callee. `first` to `last`: its lines now."""

    name: str
    path: str
    first: int
    last: int


@functools.cache
def find_sites() -> list[Site]:
    """Every site, in the order of the files and lines."""
    found: list[Site] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = str(path.relative_to(PACKAGE))
        for function, call in _calls(ast.parse(path.read_text(encoding="utf-8")), ""):
            callee = _in_a_thread(relative, call)
            if callee is not None:
                name = f"{relative} {function} {callee}"
                found.append(Site(name, str(path), call.lineno, call.end_lineno or call.lineno))
    return found


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    """All calls, each with the dotted name of the function that it is in."""
    for child in ast.iter_child_nodes(node):
        inner = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{child.name}".lstrip(".")
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(child, inner)


def _in_a_thread(module: str, call: ast.Call) -> str | None:
    """What this call has done in a thread; None for any other call."""
    target = ast.unparse(call.func)
    given = [*call.args, *(k.value for k in call.keywords if k.arg == "target")]
    if not given:
        return None
    first, last = given[0], target.rpartition(".")[2]
    if target.endswith("to_thread.run_sync") or last in ("Thread", "ThreadPoolExecutor"):
        return ast.unparse(first)
    if "." in target and last in WRAPPERS.get(module, ()):
        return ast.unparse(first)
    return None
