"""Whatever a document names is there: files, symbols, modules, bounds, headings."""

import re
from pathlib import Path

import pytest

from tests.docs import names
from tests.docs.names import (
    PACKAGE,
    ROOT,
    broken_links,
    unknown_names,
    unknown_words,
    wrong_citations,
)

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "abi/*.md", "bootstrap/*.md", "docs/**/*.md", "packaging/**/*.md")
    for path in ROOT.glob(pattern)
)
OF_THE_CODE = [
    path
    for path in DOCUMENTS
    if path.parent.name == "design" or path.stem in ("ARCHITECTURE", "GLOSSARY")
]
"""Documents in which whatever stands in backticks is a name of the code."""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_what_a_document_names_exists(path: Path) -> None:
    """A reader who follows a path, a symbol, a module or a bound finds it."""
    assert unknown_names(path.read_text()) == []


@pytest.mark.parametrize("path", OF_THE_CODE, ids=_name)
def test_words_of_the_code_are_in_the_code(path: Path) -> None:
    """A class, constant or field that was renamed is renamed in the design, too."""
    assert unknown_words(path.read_text()) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    """A link within the repository leads to a file that is there, and to a heading in it."""
    assert broken_links(path) == []


def test_documents_that_sources_cite_exist() -> None:
    """A reader who follows a source to a document finds it, and the section by its title."""
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    mine = ROOT / "tests" / "docs"
    wrong = {
        _name(path): wrong_citations(path.read_text())
        for path in sources
        if mine not in path.parents
    }
    assert sum("docs/design/" in path.read_text() for path in sources) > 50
    assert {path: cited for path, cited in wrong.items() if cited} == {}
    elsewhere = "design, " + "section"
    assert [_name(path) for path in sources if elsewhere in path.read_text()] == []


def test_the_glossary_is_in_order_and_each_word_has_a_place() -> None:
    """A word is found by its place in the alphabet, stands once, and names where it lives."""
    text = (ROOT / "docs" / "GLOSSARY.md").read_text()
    rows = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", text, re.MULTILINE)][2:]
    words = [row[0].lower() for row in rows]
    assert len(rows) > 100
    assert words == sorted(set(words))
    assert [row for row in rows if len(row) != 3 or not re.fullmatch("`p2pool/.+`", row[2])] == []


def test_a_name_that_is_gone_is_noticed() -> None:
    """Each form of a name fails where it is wrong; prose, blocks of code and URLs do not."""
    good = (
        "`p2pool/core/node.py` `p2pool/core/node.py:Node.step` `p2pool/core/` `core.node.Node.step`"
        " `model.limits` `limits.VOTERS_MAX` `docs/design/*.md` `docs/design/TOPIC.md` `api.bind`"
        " `p2pool/1` `p2pool node ls` core.nothing"
    )
    assert unknown_names(good) == []
    bad = [
        "p2pool/core/nothing.py",
        "p2pool/core/node.py:Node.nothing",
        "p2pool/core/node.py:Node.step.nothing",
        "core.nothing",
        "core.node.Nothing",
        "limits.NOTHING",
        "docs/nothing/*.md",
    ]
    assert unknown_names(" ".join(f"`{name}`" for name in bad)) == bad
    assert unknown_names(f"```\n`{bad[0]}`\n```\n") == []
    assert unknown_words("`Node` `Node.step` `NodeThatIsNot` `nothing_of_the_kind`") == [
        "NodeThatIsNot",
        "nothing_of_the_kind",
    ]


def test_a_link_that_is_broken_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, an anchor and a quoted title are looked for; addresses of the world are not."""
    monkeypatch.setattr(names, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# One word\n\n## `Two` words, more\n")
    page = tmp_path / "b.md"
    page.write_text(
        "[a](a.md) [b](a.md#one-word) [c](#here) [d](https://example.org/x)\n"
        '[e](a.md), "Two words, more"\n\n# Here\n'
    )
    assert broken_links(page) == []
    page.write_text('[a](c.md) [b](a.md#three) [c](#gone) [e](a.md), "Three"\n')
    page.write_text(page.read_text() + "[f](../x.md)\n")
    assert broken_links(page) == [
        "b.md:1: there is no c.md",
        "b.md:1: a.md has no heading #three",
        "b.md:1: b.md has no heading #gone",
        "b.md:2: there is no ../x.md",
        'b.md: a.md has no heading "Three"',
    ]


def test_a_citation_that_is_wrong_is_noticed() -> None:
    """A document or a title that is gone is told, also where a line ends within it."""
    good = 'Source: docs/ARCHITECTURE.md,\n"One step"; docs/design/consensus.md, "Epochs".'
    assert wrong_citations(good) == []
    bad = 'See design/chain.md and docs/design/consensus.md, "No\nsuch thing".'
    assert wrong_citations(bad) == ["design/chain.md", 'docs/design/consensus.md, "No such thing"']
