"""The house holds: who may import whom, how a folder is filled, how large a function may be."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "p2pool"
LOOSE_MAX = 12
"""So many modules a reader takes in at one look; beyond it a folder is cut where a noun ends."""
FUNCTION_MAX_LINES = 70
POSITIONAL_MAX = 4
NO_MODULES = {
    "api.url",
    "api.token",
    "api.sock",
    "chain.id",
    "resources.gpus",
    "json.dumps",
    "http.client",
}
"""Named like modules of ours: files, a key of the config, and Python's own."""

STDLIB_OF_THE_PURE = {
    "__future__", "base64", "bisect", "collections", "contextlib", "dataclasses", "difflib", "enum",
    "ipaddress",
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
    "api": {"model", "codec", "proofs", "wire", "api"},
    "agent": {"model", "codec", "proofs", "wire", "core", "drivers", "api", "agent"},
    "client": {"model", "codec", "proofs", "wire", "client"},
    "cli": {"model", "codec", "proofs", "wire", "client", "drivers", "agent", "dev", "cli"}
    | {"validator"},
    "dev": {"model", "codec", "proofs", "wire", "client", "drivers", "agent", "dev"},
    "validator": {"model", "codec", "proofs", "wire", "client", "drivers", "validator"},
}
THIRD: dict[str, set[str] | None] = {
    "model": {"attrs"},
    "codec": {"attrs", "cbor2", "base58", "rfc8785"},
    "proofs": {"attrs"},
    "core": {"attrs"},
    "wire": {"attrs", "nacl", "coincurve", "Crypto", "cbor2"},
}
PURE = {"model", "codec", "proofs", "core"}

# The floors of `core/`, lowest first: what each room, or loose module, may import of the others.
ENGINES = {"raft", "fsm", "log", "scheduler", "worker"}
SHARED = {"context", "effects", "inputs", "node_status"}
CORE: dict[str, set[str]] = {
    "raft": set(),
    "fsm": set(),
    "worker": set(),
    "scheduler": {"fsm"},
    "log": {"raft", "fsm"},
    "inputs": set(),
    "node_status": set(),
    "effects": {"worker"},
    "chain_claims": set(),
    "knowledge": {"chain_claims", "effects", "raft"},
    "context": {"effects", "knowledge", "log", "node_status"},
    "feature_levels": {"context"},
    "peers": SHARED | {"knowledge"},
    "follower": SHARED | ENGINES | {"knowledge"},
    "voter": SHARED | ENGINES | {"chain_claims", "knowledge", "follower"},
    "secrets": SHARED | ENGINES | {"knowledge"},
    "requests": SHARED | ENGINES | {"knowledge", "follower", "secrets"},
    "leader": SHARED | ENGINES | {"feature_levels", "knowledge", "follower", "secrets", "voter"},
    "local": SHARED | ENGINES | {"knowledge", "peers", "voter"},
    "parts": SHARED
    | ENGINES
    | {"follower", "leader", "local", "peers", "requests", "secrets", "voter"},
    "view": SHARED | ENGINES | {"feature_levels", "follower"},
    "dispatch": SHARED | ENGINES | {"follower", "parts"},
}

ENDS_LIKE_A_PARTICIPLE = {
    "binding": "what ties a peer key to a node",
    "founding": "the act that begins a pool's log",
    "judging": "what judges of work do: a folder",
    "peer_binding": "the record of a binding",
    "ranking": "an order of nodes by merit",
    "shared": "what several commands use: a folder, of which the names inside tell more",
    "signing": "what a command does with a key",
    "timing": "how long Raft waits",
}
"""Names that stand, and why: nouns, but for the one of a folder."""


@cache
def _tree(source: str) -> ast.Module:
    """A source as a tree, parsed once for all that look at it."""
    return ast.parse(source)


@cache
def _sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


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
    for name in _imports(_tree(path.read_text())):
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
def test_functions_stay_small(path: Path) -> None:
    """A function that outgrew its bound is split, not scrolled through."""
    for node in ast.walk(_tree(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_MAX_LINES, f"{path}:{node.lineno}: {length} lines"


Graph = Mapping[str, Iterable[str]]


def _imported(source: str, modules: Iterable[str]) -> set[str]:
    """The modules of ours that a source imports, wherever in it: for type checkers alone too."""
    found: set[str] = set()
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in modules else node.module or "" for name in names}
    return found & set(modules)


@cache
def _arrows() -> dict[str, set[str]]:
    """Every module, with those that it imports."""
    paths = {_name(path): path for path in _sources()}
    return {name: _imported(path.read_text(), paths) - {name} for name, path in paths.items()}


def _rooms(arrows: Graph) -> dict[str, dict[str, set[str]]]:
    """By folder: its modules and rooms, with those beside them that something in them imports."""
    folders: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for start, ends in arrows.items():
        for end in ends:
            a, b = start.split("."), end.split(".")
            same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
            if same is not None:
                folders[".".join(a[:same])][a[same]].add(b[same])
    return folders


def _circle(graph: Graph) -> list[str]:
    """A circle in a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Each module can be understood, and tested, with those below it alone."""
    assert _circle(_arrows()) == []
    hidden = "if TYPE_CHECKING:\n    from p2pool.b import c\nfrom p2pool import d"
    assert _imported(hidden, ["p2pool.b", "p2pool.d"]) == {"p2pool.b", "p2pool.d"}
    assert _circle({"a": ["b"], "b": ["c"], "c": ["a"]}) != []
    assert _circle({"a": ["b", "c"], "b": ["c"]}) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """Between the rooms of a folder, and its loose modules, arrows run one way."""
    rooms = _rooms(_arrows())
    assert {"p2pool", "p2pool.core", "p2pool.drivers.net"} <= set(rooms)
    assert {folder: found for folder in rooms if (found := _circle(rooms[folder]))} == {}
    both_ways = _rooms({"p.a.x": ["p.b.y"], "p.b.z": ["p.a.w"]})
    assert _circle(both_ways["p"]) != []


def _core_arrows(arrows: Graph) -> list[str]:
    """Arrows between the rooms of `core/` that its floors do not have."""
    found = []
    for start, ends in arrows.items():
        for end in ends:
            if not (start.startswith("p2pool.core.") and end.startswith("p2pool.core.")):
                continue
            a, b = start.split(".")[2], end.split(".")[2]
            known = b in CORE[a] if a != "node" else True
            if (a != b and not known) or a == b == "knowledge":
                found.append(f"{start} -> {end}")
    return found


def test_the_floors_of_the_core_hold() -> None:
    """Engines know no context, books know neither it nor each other, protocols know no node."""
    arrows = _arrows()
    rooms = {name.split(".")[2] for name in arrows if name.startswith("p2pool.core.")}
    assert rooms == {*CORE, "node"}
    assert _circle(CORE) == []
    assert _core_arrows(arrows) == []
    core = "p2pool.core."
    wrong = [("raft.raft", "context"), ("knowledge.roster", "knowledge.bindings"),
             ("knowledge.roster", "context"), ("peers.watch", "node")]  # fmt: skip
    for start, end in wrong:
        assert _core_arrows({core + start: [core + end]}) == [f"{core}{start} -> {core}{end}"]


def _holds_node(source: str) -> bool:
    """Whether a source names the class of nodes, in code or in an annotation that is a string."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            named = ast.unparse(node).rpartition(".")[2] == "Node"
            if named:
                return True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            quoted = re.fullmatch(r"[\w\[\] |.,]*\bNode\b[\w\[\] |.,]*", node.value)
            if quoted is not None:
                return True
    return False


def test_only_agents_hold_a_node() -> None:
    """What is given the node depends on everything, so the agent that drives it alone has it."""
    node = "p2pool.core.node"
    users = {name for name, imported in _arrows().items() if node in imported}
    assert {name.split(".")[1] for name in users} == {"agent"}
    core = [path for path in (PACKAGE / "core").rglob("*.py") if _name(path) != node]
    assert [str(path) for path in core if _holds_node(path.read_text())] == []
    assert _holds_node("def f(node: 'Node | None') -> None: ...")
    assert _holds_node("def f(node: node.Node) -> None: ...")
    assert not _holds_node("def f(node: 'NodeId') -> None: ...")


def _crowded(paths: Iterable[Path]) -> dict[str, int]:
    """Folders with more loose modules than a reader takes in."""
    loose = Counter(str(path.parent) for path in paths if path.name != "__init__.py")
    return {folder: count for folder, count in loose.items() if count > LOOSE_MAX}


def test_folders_stay_small() -> None:
    """A folder that outgrew its bound gets rooms, each of which is named by a noun."""
    assert _crowded(_sources()) == {}
    assert _crowded([Path(f"p/{number}.py") for number in range(13)]) == {"p": 13}


def _participles(paths: Iterable[Path]) -> set[str]:
    """Modules and folders named by what is done, or was done to them."""
    names = {part for path in paths for part in path.with_suffix("").parts}
    words = {name: name.rpartition("_")[2] for name in names}
    return {name for name, word in words.items() if re.fullmatch(r"\w{3,}(ing|ed)", word)}


def test_modules_are_named_by_nouns() -> None:
    """A file is a thing, so its name says which: no module is called after a participle."""
    assert _participles(path.relative_to(PACKAGE) for path in _sources()) == set(
        ENDS_LIKE_A_PARTICIPLE
    )
    tree = [Path("core/catching_up.py"), Path("core/leading/log_following.py"), Path("core/bed.py")]
    assert _participles(tree) == {"leading", "log_following"}


@cache
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
        for node in ast.walk(_tree(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(how).startswith("attrs.") for how in node.decorator_list)
    )


def _swappable(source: str, records: frozenset[str]) -> list[str]:
    """Calls of records with so many positional arguments that two of them are swapped unseen."""
    found = []
    for node in ast.walk(_tree(source)):
        if not isinstance(node, ast.Call) or len(node.args) <= POSITIONAL_MAX:
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in records or name == "cls":
            found.append(f"line {node.lineno}: {name}")
    return found


def test_records_with_many_fields_name_them() -> None:
    """Two numbers in each other's place pass every check of types; a name says which is which."""
    records = _records()
    assert len(records) > 200
    found = {str(p.relative_to(ROOT)): _swappable(p.read_text(), records) for p in _sources()}
    assert {path: calls for path, calls in found.items() if calls} == {}
    assert _swappable("messages.Heartbeat(1, 2, 3, 4, 5)", records) == ["line 1: Heartbeat"]
    assert _swappable("cls(1, 2, 3, 4, 5)", records) == ["line 1: cls"]
    assert _swappable("Heartbeat(1, 2, 3, 4, load=5)", records) == []


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module opens with a docstring, unless it is an empty package marker."""
    tree = _tree(path.read_text())
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


NOW = {"time", "time_ns", "monotonic", "monotonic_ns", "now", "utcnow", "today"}


def _read_at_import(tree: ast.AST) -> Iterable[str]:
    """Where a module reads a clock while it is imported: by itself, in a decorator or a default."""
    inner: list[ast.AST] = list(ast.iter_child_nodes(tree))
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        inner = [*tree.decorator_list, *tree.args.defaults, *filter(None, tree.args.kw_defaults)]
    elif isinstance(tree, ast.Lambda):
        inner = [*tree.args.defaults, *filter(None, tree.args.kw_defaults)]
    if isinstance(tree, ast.Call) and ast.unparse(tree.func).rpartition(".")[2] in NOW:
        yield f"line {tree.lineno}: {ast.unparse(tree)}"
    for each in inner:
        yield from _read_at_import(each)


def test_no_module_reads_a_clock_while_it_is_imported() -> None:
    """What a test is given when it is collected is an hour old when a slow machine comes to it."""
    paths = [*_sources(), *TESTS.rglob("*.py")]
    found = {str(path): list(_read_at_import(_tree(path.read_text()))) for path in paths}
    assert {path: calls for path, calls in found.items() if calls} == {}
    assert list(_read_at_import(ast.parse("@mark(time.time())\ndef test_x(): time.time()")))
    assert not list(_read_at_import(ast.parse("def test_x(): time.time()")))
