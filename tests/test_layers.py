"""The layers of the design hold: who may import whom, and how large a file or function may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "p2pool"
FILE_MAX_LINES = 400
FUNCTION_MAX_LINES = 70

STDLIB_OF_THE_PURE = {
    "__future__", "bisect", "collections", "contextlib", "dataclasses", "difflib", "enum",
    "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator", "random",
    "re", "string", "struct", "types", "typing",
}  # fmt: skip

# What each layer may import: our own packages, and third parties. `None`: any third party.
OURS: dict[str, set[str]] = {
    "model": {"model"},
    "codec": {"model", "codec"},
    "proofs": {"model", "codec", "proofs"},
    "core": {"model", "codec", "proofs", "core"},
    "wire": {"model", "codec", "proofs", "wire"},
    "drivers": {"model", "codec", "proofs", "wire", "core", "drivers"},
    "api": {"model", "codec", "proofs", "wire", "core", "api"},
    "agent": {"model", "codec", "proofs", "wire", "core", "drivers", "api", "agent"},
    "client": {"model", "codec", "proofs", "wire", "client"},
    "cli": {"model", "codec", "proofs", "wire", "client", "drivers", "agent", "dev", "cli"},
    "dev": {"model", "codec", "proofs", "wire", "client", "drivers", "agent", "dev"},
}
THIRD: dict[str, set[str] | None] = {
    "model": {"attrs"},
    "codec": {"attrs", "cbor2", "base58", "rfc8785"},
    "proofs": {"attrs"},
    "core": {"attrs"},
    "wire": {"attrs", "nacl", "eth_account", "eth_utils", "hexbytes", "cbor2"},
}
PURE = {"model", "codec", "proofs", "core"}


def _sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_only(path: Path) -> None:
    """A module imports its own layer and the ones that the design allows it, nothing else."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        return
    layer = parts[0]
    third = THIRD.get(layer)
    for name in _imports(ast.parse(path.read_text())):
        top, *rest = name.split(".")
        if top == "p2pool":
            if rest:
                assert rest[0] in OURS[layer], f"{layer} may not import {name}"
        elif layer in PURE:
            assert third is not None
            assert top in third | STDLIB_OF_THE_PURE, f"{layer} is pure: no {name}"
        elif third is not None and top not in third:
            assert top not in {"trio", "libp2p", "web3", "docker", "litestar", "apsw", "httpx2"}


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """A file or function that outgrew its bound is split, not scrolled through."""
    text = path.read_text()
    assert text.count("\n") <= FILE_MAX_LINES, f"{path}: more than {FILE_MAX_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_MAX_LINES, f"{path}:{node.lineno}: {length} lines"


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module opens with a docstring, unless it is an empty package marker."""
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{path}: no module docstring"
