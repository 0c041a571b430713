"""No key of the configuration is accepted and then read by nobody."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import p2pool
from p2pool.drivers.config import schema
from p2pool.drivers.config.schema import AgentConfig

PACKAGE = Path(p2pool.__file__).resolve().parent
SCHEMA = PACKAGE / "drivers" / "config"
SECTIONS: dict[str, type[Any]] = {
    name: thing
    for name, thing in vars(schema).items()
    if attrs.has(thing) and thing.__module__ == schema.__name__
}
"""The classes of the schema, by their names."""
KEYS = [(name, field.name) for name, section in SECTIONS.items() for field in attrs.fields(section)]


def _section_of(owner: str, field: str) -> str | None:
    """The section that a field of a section holds: `AgentConfig.runtime` is a `RuntimeConfig`."""
    kind = attrs.fields_dict(SECTIONS[owner])[field].type
    return next((name for name, section in SECTIONS.items() if section is kind), None)


def _annotated(node: ast.expr | None) -> str | None:
    """The section that an annotation names, quoted or not."""
    if isinstance(node, ast.Constant):
        return node.value if node.value in SECTIONS else None
    return node.id if isinstance(node, ast.Name) and node.id in SECTIONS else None


class Reader(ast.NodeVisitor):
    """Follows values of the schema's types through one module, and notes which keys it reads.

    A value is known by an annotation, by a call of `load_config` or `load_chain`, as a field of a
    known value, or by the name of an attribute that holds an `AgentConfig` everywhere: `config`.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.read: set[tuple[str, str]] = set()

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter that is annotated, or is not one of ours any more."""
        self.names.pop(node.arg, None)
        if (found := _annotated(node.annotation)) is not None:
            self.names[node.arg] = found

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """A field or local that is annotated."""
        if (found := _annotated(node.annotation)) is not None and isinstance(node.target, ast.Name):
            self.names[node.target.id] = found
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """A local that is given a known value, alone or in a row of several."""
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for to, value in pairs:
                if isinstance(to, ast.Name) and (found := self.kind(value)) is not None:
                    self.names[to.id] = found
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """A key that is read of a known value."""
        owner = self.kind(node.value)
        if owner is not None and node.attr in attrs.fields_dict(SECTIONS[owner]):
            self.read.add((owner, node.attr))
        self.generic_visit(node)

    def kind(self, node: ast.expr) -> str | None:
        """Which section a value is of."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name)
            case ast.Attribute(value=value, attr=name):
                owner = self.kind(value)
                if owner is not None and name in attrs.fields_dict(SECTIONS[owner]):
                    return _section_of(owner, name)
                return self.names.get(name) if isinstance(value, ast.Name) else None
            case ast.Call(func=ast.Name(id="load_config")):
                return "AgentConfig"
            case ast.Call(func=ast.Name(id="load_chain")):
                return "ChainConfig"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="attrs"), attr="evolve"), args=args):
                return self.kind(args[0])
        return None


def _readers() -> Iterator[set[tuple[str, str]]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if SCHEMA in path.parents:
            continue
        reader = Reader()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # Of the agent's options, of a check's subject: attributes of this name hold all of it.
        reader.names["config"] = "AgentConfig"
        reader.visit(tree)
        yield reader.read


READ = set().union(*_readers())


@pytest.mark.parametrize(("section", "key"), KEYS, ids=lambda part: str(part))
def test_every_key_is_read(section: str, key: str) -> None:
    """A key that changes nothing is a promise that nobody keeps: read it, or drop it."""
    assert (section, key) in READ, f"[{section}] {key} is read by nothing"


def test_what_nobody_reads_is_found() -> None:
    """The reader tells a key that is read from one of the same name in another section."""
    reader = Reader()
    source = "def f(runtime: RuntimeConfig, other: object) -> None:\n    runtime.kind, other.gpus\n"
    reader.visit(ast.parse(source))
    assert reader.read == {("RuntimeConfig", "kind")}
    assert AgentConfig.__name__ in SECTIONS
