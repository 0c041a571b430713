"""The kinds of events that may be asked for are those that there are."""

import ast
from pathlib import Path

import p2pool
from p2pool.drivers.config.validators import event_kinds
from p2pool.model.ports.view import EVENT_KINDS

CORE = Path(p2pool.__file__).parent / "core" / "fsm"


def told() -> set[str]:
    """The kinds that the state machine tells of, from its source."""
    found = set()
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="tell"), args=[ast.Constant(value=kind), *_]):
                    found.add(str(kind))
    return found


def test_every_kind_can_be_asked_for() -> None:
    """And none that nothing tells of."""
    assert told() == set(EVENT_KINDS)


def test_the_documents_list_them() -> None:
    """The reference of the configuration is made from this sentence."""
    assert event_kinds.__doc__ == f"kinds of events: {', '.join(EVENT_KINDS)}"
