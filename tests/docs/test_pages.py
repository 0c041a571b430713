"""What `docs/` says of the code is what the code says: `make docs` writes it anew."""

import re
from pathlib import Path

import pytest
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX

from p2pool.codec.text.data_uri import BOOTSTRAP_KEY, ROOT_KEY
from p2pool.drivers.chain import contracts
from p2pool.drivers.chain.root import contract as root_contract
from p2pool.drivers.chain.roster import reader as roster_reader
from p2pool.model import limits
from p2pool.model.messages.registry import TYPES
from p2pool.model.settings import SETTINGS
from p2pool.wire import envelope
from tests.docs.generator import facts, forms, pages, vectors
from tests.docs.generator.markdown import names_of, prose_of, rewritten
from tests.docs.generator.sources import sources

PROTOCOL = (pages.DOCS / "PROTOCOL.md").read_text(encoding="utf-8")
FIGURE = re.compile(r"(?:([0-9]+)(?:\s(KiB|MiB|d|h|min|s))?\s+\()?`([A-Z][A-Z0-9_]*_[A-Z0-9_]+)`")
AGAIN = "make docs"


@pytest.mark.parametrize("page", pages.PAGES)
def test_a_page_is_as_the_code_is(page: str) -> None:
    """The marked parts of a page are what the code makes of them."""
    text = (pages.DOCS / page).read_text(encoding="utf-8")
    assert text == pages.current(page), f"docs/{page} differs from the code: {AGAIN}"


@pytest.mark.parametrize("name", vectors.FILES)
def test_vectors_are_as_the_code_is(name: str) -> None:
    """A file of vectors is what the golden bytes and the code make of it."""
    text = (pages.VECTORS / name).read_text(encoding="utf-8")
    assert text == vectors.text_of(name), f"docs/vectors/{name} differs from the code: {AGAIN}"


def test_no_vectors_are_left_over() -> None:
    """Every file of vectors is made by something."""
    assert {path.name for path in pages.VECTORS.glob("*.json")} == set(vectors.FILES)


def test_parts_are_rewritten_and_nothing_else() -> None:
    """What stands between the marks is replaced, and what stands around them stays."""
    page = "a\n<!-- generated: one -->\nold\n<!-- end: one -->\nb\n"
    assert names_of(page) == ["one"]
    new = rewritten(page, {"one": "new\n"})
    assert new == "a\n<!-- generated: one -->\n\nnew\n\n<!-- end: one -->\nb\n"
    assert rewritten(new, {"one": "new"}) == new


def wrong_figures(text: str) -> list[str]:
    """Limits in prose without their value before them, or with another one."""
    found = []
    for number, unit, name in FIGURE.findall(text):
        if name.startswith("P2POOL_"):
            continue
        said = f"{number} {unit}".strip()
        right = (facts.human(name), str(getattr(limits, name))) if hasattr(limits, name) else ()
        if not said or said not in right:
            found.append(f"{said or 'no figure'} ({name})")
    return found


def test_figures_in_prose_are_the_limits() -> None:
    """A limit that the protocol's prose names stands behind its value."""
    prose = prose_of(PROTOCOL)
    assert len(FIGURE.findall(prose)) > 30
    assert wrong_figures(prose) == []
    assert wrong_figures("5 s (`HELLO_TIMEOUT_MS`), 64\n(`STREAMS_PER_PEER_MAX`)") == []
    assert wrong_figures("6 s (`HELLO_TIMEOUT_MS`), `CBOR_MAX_DEPTH`, 5 (`NO_SUCH_LIMIT`)") == [
        "6 s (HELLO_TIMEOUT_MS)", "no figure (CBOR_MAX_DEPTH)", "5 (NO_SUCH_LIMIT)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fact",
    [
        f"`{NOISE}`", f"`{YAMUX}`", f"`{IDENTIFY}`",
        f'"{envelope.FORMAT}"', f'"{envelope._CONTEXT}"',
        f"{{{envelope._ALGORITHM}: {envelope._EDDSA}, {envelope._KEY_ID}: <peer key, 32 bytes>}}",
        f"`{ROOT_KEY}=", f"`{BOOTSTRAP_KEY}=", f"0x{root_contract.PROXY.hex()}",
    ],
)  # fmt: skip
def test_facts_in_prose_are_constants_of_the_code(fact: str) -> None:
    """What is signed or negotiated stands in the prose as the code has it."""
    assert fact in prose_of(PROTOCOL)


def test_the_chain_is_read_as_the_page_says() -> None:
    """The functions in the table are those that a roster is read by."""
    reader = sources()["drivers.chain.roster.reader"]
    called = set(re.findall(r'function\("(\w+)", "?(\w+)"?\)', reader))
    for name in ("pool", "node", "whitelisted"):
        assert f".{name}(" in reader
        method = getattr(contracts.PoolContracts, name)
        body = method.__code__.co_consts
        called |= {(c, f) for c, f in _pairs(sources()["drivers.chain.contracts"]) if f in body}
    called |= {("ComputeRegistry", contracts.GET_NODE)}
    record = sources()["drivers.chain.root.contract"]
    called |= {("PoolRoot", name) for name in re.findall(r'function\(NAME, "(\w+)"\)', record)}
    assert called == {(contract, name) for contract, name, _ in facts.READS}
    assert roster_reader.RosterReader.__name__ in reader


def _pairs(text: str) -> list[tuple[str, str]]:
    return re.findall(r'function\("(\w+)", "(\w+)"\)', text)


def test_links_lead_somewhere() -> None:
    """Every link inside a page, and every link to a file, has its target."""
    for path in sorted(pages.DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        anchors = {forms.anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, fragment = target.partition("#")
            if "://" in target:
                continue
            if file:
                assert (path.parent / file).exists(), f"{path.name}: {target}"
            elif fragment:
                assert fragment in anchors, f"{path.name}: {target}"


def test_variables_of_the_environment_are_told() -> None:
    """Every P2POOL_ variable that the program reads of its user is on the configuration's page."""
    text = (pages.DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(P2POOL_[A-Z_]+)`", text, re.MULTILINE))
    read = {
        name
        for at, source in sources().items()
        if at.split(".")[0] in ("cli", "client", "dev", "drivers")
        and ".containers" not in at
        and at != "cli.shared.environment"
        for name in re.findall(r'"(P2POOL_[A-Z_]+[A-Z])"', source)
    }
    assert told == read


def test_settings_are_explained_where_they_are_set() -> None:
    """Every setting of the pool is in the help of the command that sets it."""
    text = (pages.DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^## p2pool pool set$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    for name in SETTINGS:
        assert re.search(rf"^ +{name} ", told, re.MULTILINE), name


def missing_from(text: str) -> list[str]:
    """Paths and make targets that a page names and that are not there."""
    root = pages.DOCS.parent
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    paths = re.findall(r"`((?:p2pool|tests)/[\w/.]+)`", text)
    made = re.findall(r"`make ([a-z-]+)", text)
    return [p for p in paths if not (root / p).exists()] + [t for t in made if t not in targets]


def test_checklists_name_what_is_there() -> None:
    """A file that moved, or a target that is gone, is noticed where newcomers are sent to it."""
    text = (pages.DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert missing_from(text) == []
    assert missing_from("`p2pool/model/gone.py`, `make peace`, `make docs`") == [
        "p2pool/model/gone.py", "peace",
    ]  # fmt: skip


def test_a_new_field_would_be_told() -> None:
    """A field that came with a feature level shows it, wherever the level is said."""
    import attrs

    level = type("Level", (), {"since": 7})()
    made = attrs.make_class(
        "Made",
        {
            "old": attrs.field(type=int),
            "new": attrs.field(default=0, type=int, metadata={"since": 3}),
        },
        frozen=True,
    )
    table = forms.fields_table(made)
    assert re.search(r"`new` +\| int +\| 3", table)
    from typing import Annotated

    assert forms.since(made, "old", Annotated[int, level]) == "7"
    assert forms.since(made, "old", int) == ""
    assert "since" not in forms.fields_table(TYPES[30])


def test_every_page_says_how_it_is_made() -> None:
    """Whoever finds a page that is made from the code learns how to make it anew."""
    for page in pages.PAGES:
        assert AGAIN in Path(pages.DOCS / page).read_text(encoding="utf-8"), page
