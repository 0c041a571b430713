"""The layers of the design hold: who may import whom, and how large a file or function may be."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "p2pool"
FILE_MAX_LINES = 700
FUNCTION_MAX_LINES = 70
POSITIONAL_MAX = 4
NO_MODULES = {"api.url", "api.token", "chain.id", "resources.gpus", "json.dumps", "http.client"}
"""Named like modules of ours: files, a key of the config, and Python's own."""

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


def _modules() -> set[str]:
    """Every module by every ending of its name that has a folder in it."""
    names = set()
    for path in _sources():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names |= {".".join(parts[at:]) for at in range(len(parts) - 1)}
    return names


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_that_are_named_are_there(path: Path) -> None:
    """A reader who follows a name in a comment finds a module, or a name in one."""
    modules = _modules()
    folders = {name.split(".")[0] for name in modules}
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", path.read_text()):
        if name.partition(".")[0] not in folders or name in NO_MODULES or name.endswith(".json"):
            continue
        assert name in modules or name.rpartition(".")[0] in modules, f"{path}: no module {name}"


def _records() -> frozenset[str]:
    """The names of all attrs classes."""
    return frozenset(
        node.name
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(how).startswith("attrs.") for how in node.decorator_list)
    )


def _swappable(source: str, records: frozenset[str]) -> list[str]:
    """Calls of records with so many positional arguments that two of them are swapped unseen."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or len(node.args) <= POSITIONAL_MAX:
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in records and name[0].isupper():
            found.append(f"line {node.lineno}: {name}")
    return found


def test_records_with_many_fields_name_them() -> None:
    """Two numbers in each other's place pass every check of types; a name says which is which."""
    records = _records()
    assert len(records) > 200
    found = {str(p.relative_to(ROOT)): _swappable(p.read_text(), records) for p in _sources()}
    assert {path: calls for path, calls in found.items() if calls} == {}
    assert _swappable("messages.Heartbeat(1, 2, 3, 4, 5)", records) == ["line 1: Heartbeat"]
    assert _swappable("Heartbeat(1, 2, 3, 4, load=5)", records) == []


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module opens with a docstring, unless it is an empty package marker."""
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{path}: no module docstring"


TESTS = ROOT / "tests"
LOOSE_MAX = 12


def _folders_of_tests() -> list[Path]:
    return sorted({path.parent for path in TESTS.rglob("*.py")})


@pytest.mark.parametrize("folder", _folders_of_tests(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_folder_of_tests_is_seen_at_a_glance(folder: Path) -> None:
    """At most twelve files lie loose in one, and what several of its tests share is no test."""
    loose = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= LOOSE_MAX, f"{folder}: give its files rooms"
    for path in loose:
        for name in _imports(ast.parse(path.read_text())):
            tested = name.startswith("tests.") and ".test_" in name
            assert not tested, (
                f"{path} imports {name}: put what both need into a module beside them"
            )
