"""Which function makes which part of which page."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.generator import facts, messages, reference, vectors
from tests.docs.generator.markdown import names_of, rewritten

DOCS = Path(__file__).resolve().parents[3] / "docs"
VECTORS = DOCS / "vectors"

Parts = Mapping[str, Callable[[], str]]

PAGES: Mapping[str, Parts] = {
    "PROTOCOL.md": {
        "chain-reads": facts.chain_reads,
        "chain-events": facts.chain_events,
        "channels": messages.channels,
        "senders": messages.senders,
        "gossipsub": facts.gossipsub,
        "bounds": facts.bounds,
        "typed-data": facts.typed_data,
        "actions": messages.actions,
        "settings": messages.settings,
        "timings": messages.timings,
        "error-codes": facts.error_codes,
        "message-list": messages.message_list,
        "messages": messages.messages,
        "entry-list": messages.entry_list,
        "entries": messages.entries,
        "records": messages.records,
    },
    "reference/configuration.md": {"configuration": reference.configuration},
    "reference/limits.md": {"limits": reference.limit_tables},
    "reference/commands.md": {"commands": reference.commands},
    "reference/exit-codes.md": {
        "exit-codes": reference.exit_codes,
        "errors": reference.exit_codes_of_errors,
    },
}


def current(page: str) -> str:
    """A page with its marked parts as the code has them now."""
    text = (DOCS / page).read_text(encoding="utf-8")
    made = {name: make() for name, make in PAGES[page].items()}
    assert sorted(names_of(text)) == sorted(made), f"the marked parts of docs/{page}"
    return rewritten(text, made)


def write_all() -> list[str]:
    """Rewrite what differs; the names of those files."""
    changed = []
    for page in PAGES:
        changed += _write(DOCS / page, current(page))
    for name in vectors.FILES:
        changed += _write(VECTORS / name, vectors.text_of(name))
    return changed


def _write(path: Path, text: str) -> list[str]:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return []
    path.write_text(text, encoding="utf-8")
    return [str(path.relative_to(DOCS.parent))]
