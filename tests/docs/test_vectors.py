"""The published vectors hold for whoever has nothing of ours, and would show a difference."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.generator import vectors
from tests.docs.generator.pages import VECTORS

SCRIPT = VECTORS / "verify.py"
RUN_DEADLINE_S = 120


def verify(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script as somebody else would: isolated, outside the tree."""
    return subprocess.run(
        [sys.executable, "-I", str(folder / SCRIPT.name)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE_S,
        check=False,
    )


def test_vectors_verify_without_our_code() -> None:
    """Other libraries make the same bytes, digests and signatures of what the files say."""
    done = verify(VECTORS)
    assert done.returncode == 0, done.stderr
    assert {line.split(":")[0] for line in done.stdout.splitlines()} == {
        Path(name).stem for name in vectors.FILES if name != "keys.json"
    }


def test_the_script_imports_nothing_of_ours() -> None:
    """It would prove nothing if our code checked itself."""
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {
        "cbor2", "cryptography", "eth_account", "eth_utils",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("cbor.json", ("good", 3, "bytes")),
        ("messages.json", ("messages", 1, "payload")),
        ("messages.json", ("messages", 1, "envelope")),
        ("entries.json", ("entries", 2, "body")),
        ("digests.json", ("digests", 0, "digest")),
        ("certificates.json", ("certificate", 0)),
        ("certificates.json", ("committee_hashes", 1)),
        ("typed_data.json", ("typed_data", 0, "signature")),
        ("chain.json", ("invite", "signature")),
        ("validation.json", ("derived", "fingerprint")),
        ("validation.json", ("evidence", 0, "document")),
    ],
)
def test_a_changed_byte_is_found(file: str, where: tuple[Any, ...], tmp_path: Path) -> None:
    """Every kind of vector is compared: one wrong digit anywhere ends the script."""
    folder = tmp_path / "vectors"
    shutil.copytree(VECTORS, folder)
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    inner = content
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = _changed(inner[where[-1]])
    (folder / file).write_text(json.dumps(content), encoding="utf-8")
    assert verify(folder).returncode != 0


def _changed(text: str) -> str:
    """Bytes with another last but one digit."""
    at = len(text) - 3
    assert re.fullmatch("[0-9a-f]", text[at])
    return f"{text[:at]}{int(text[at], 16) ^ 1:x}{text[at + 1 :]}"


def test_golden_bytes_are_the_published_ones() -> None:
    """What our own tests pin is what others test against."""
    golden = json.loads(vectors.GOLDEN.read_text(encoding="utf-8"))
    told = json.loads((VECTORS / "messages.json").read_text(encoding="utf-8"))["messages"]
    assert {one["name"]: one["envelope"] for one in told} == {
        name: f"h'{one['sealed']}'" for name, one in golden["messages"].items()
    }
    bodies = json.loads((VECTORS / "entries.json").read_text(encoding="utf-8"))["entries"]
    assert {one["name"]: one["body"] for one in bodies} == {
        name: f"h'{one['body']}'" for name, one in golden["bodies"].items()
    }
