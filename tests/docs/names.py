"""The names of code and of other documents that stand in a document, and what does not exist.

A name stands in backticks, so that prose is never mistaken for one. Four forms are understood:

    `p2pool/core/node.py`               a path, perhaps with `*` or TOPIC and the like in it
    `p2pool/core/node.py:Node.step`     a symbol in a file
    `core.fsm.adoption`                 a module, or a symbol in one
    `limits.PROBE_INTERVAL_MS`          a bound

Links are those of Markdown; a title in quotes behind a link names a heading of its target.
Docstrings cite documents by their path, `docs/design/TOPIC.md, "Title"`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

from p2pool.drivers.config.schema import ApiConfig
from p2pool.model import limits
from p2pool.model.data_dir import API_SOCKET_FILE, API_TOKEN_FILE, API_URL_FILE
from tests.docs.markdown import Document

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "p2pool"
TOPS = ("p2pool", "tests", "docs", "abi", "bootstrap", "packaging", "prover", r"\.ci")
FLOORS = frozenset(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
NO_MODULES = {API_URL_FILE, API_TOKEN_FILE, API_SOCKET_FILE} | {
    f"api.{f.name}" for f in attrs.fields(ApiConfig)
}
"""Named like modules of a floor: files of the data directory, and keys of the configuration."""
PLACEHOLDER = r"\b(?:TOPIC|NAME|VERSION|FOLDER)\b"
FILES = (".json", ".toml", ".md", ".py", ".txt", ".db", ".key")

_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_PATH = re.compile(rf"((?:{'|'.join(TOPS)})/(?!\d)[\w./*-]*)(?::([A-Za-z_][\w.]*))?")
_DOTTED = re.compile(r"([a-z_]+)((?:\.[A-Za-z_]\w*)+)")
_TITLED = re.compile(r"\]\(([^)\s#]+\.md)\),\s+\"([^\"]+)\"")
_CITED = re.compile(r"((?:\w+/)*\w+\.md)(?:, \"([^\"]+)\")?")
_WORD = re.compile(r"[A-Z]\w*(?:\.\w+)*|[a-z]+(?:_[a-z0-9]+)+")


# --- what a document says -----------------------------------------------------------------------


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return _FENCE.sub("", text)


def names(text: str) -> Iterator[str]:
    """What stands in backticks."""
    for found in _CODE.finditer(prose(text)):
        yield found[1].strip()


def headings(path: Path) -> list[str]:
    """The titles in a document, without what marks them up."""
    found = re.findall(r"^#+ +(.+?) *$", prose(path.read_text()), re.MULTILINE)
    return [title.replace("`", "") for title in found]


# --- what does not exist ------------------------------------------------------------------------


def unknown_names(text: str) -> list[str]:
    """Paths, symbols, modules and bounds that are named and are not there."""
    return [name for name in names(text) if _is_unknown(name)]


def _is_unknown(name: str) -> bool:
    if (path := _PATH.fullmatch(name)) is not None:
        return not _has_path(path[1], path[2])
    dotted = _DOTTED.fullmatch(name)
    if dotted is None or name in NO_MODULES or name.endswith(FILES):
        return False
    if dotted[1] == "limits":
        return not hasattr(limits, dotted[2][1:])
    parts = name.removeprefix("p2pool.").split(".")
    return parts[0] in FLOORS and not _has_dotted(parts)


def _has_path(text: str, symbol: str | None) -> bool:
    pattern = re.sub(PLACEHOLDER, "*", text.rstrip("/"))
    if (ROOT / text).exists():
        return symbol is None or _has_symbol(ROOT / text, symbol.split("."))
    return symbol is None and "*" in pattern and any(ROOT.glob(pattern))


def _has_dotted(parts: list[str]) -> bool:
    """Whether the longest module in a name is there, and in it the rest."""
    for end in range(len(parts), 0, -1):
        place = PACKAGE.joinpath(*parts[:end])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.exists():
            return end == len(parts) or _has_symbol(module, parts[end:])
    return False


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _has_symbol(path: Path, parts: list[str]) -> bool:
    """Whether a file defines a name, and below it the next."""
    body: list[ast.stmt] = _tree(path).body
    for number, part in enumerate(parts):
        for node in body:
            if part not in _defined(node):
                continue
            body = node.body if isinstance(node, ast.ClassDef) else []
            break
        else:
            return False
        if not body and number + 1 < len(parts):
            return False
    return True


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    if isinstance(node, ast.Assign):
        return [name for target in node.targets for name in ast.unparse(target).split(", ")]
    return []


@cache
def known_words() -> frozenset[str]:
    """Every word of the sources."""
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "abi" / "src").glob("*.sol")]
    return frozenset(word for path in sources for word in re.findall(r"\w+", path.read_text()))


def unknown_words(text: str) -> list[str]:
    """Names of classes, constants and fields that stand nowhere in the sources."""
    found = (name.removesuffix("()") for name in names(text))
    whole = (name for name in found if _WORD.fullmatch(name) and "/" not in name)
    return [name for name in whole if any(p not in known_words() for p in name.split("."))]


def broken_links(path: Path) -> list[str]:
    """Links to files, anchors and quoted titles of this repository that are not there."""
    document, broken = Document.read(path), []
    for number, link in document.links():
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{path.name}:{number}: there is no {name}")
        elif heading and heading not in Document.read(target).anchors():
            broken.append(f"{path.name}:{number}: {target.name} has no heading #{heading}")
    for name, title in _TITLED.findall(prose(path.read_text())):
        target = (path.parent / name).resolve()
        if target.exists() and title not in headings(target):
            broken.append(f'{path.name}: {target.name} has no heading "{title}"')
    return broken


def wrong_citations(text: str) -> list[str]:
    """Documents, and titles in them, that a source cites and that are not there."""
    wrong = []
    for document, title in _CITED.findall(re.sub(r"\s+", " ", text)):
        place = ROOT / document
        if re.search(PLACEHOLDER, document) or "/" not in document:
            continue
        if not place.exists():
            wrong.append(document)
        elif title and title not in headings(place):
            wrong.append(f'{document}, "{title}"')
    return wrong
