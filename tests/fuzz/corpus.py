"""Corpora: one file for each target, a line for each input.

A line is a name, a space, and the bytes: a text in quotes where they are printable, else hex. An
input that showed a fault has a name that says which, and stays for good; the others are named by
their digest, and are the fewest that reach what was reached.

    request-body-of-escapes "[[[[..."
    0f3c2a91 8301820203f6
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

CORPORA = Path(__file__).parent / "corpora"
INPUTS_MAX = 100
CORPUS_MAX_BYTES = 48 * 1024


def path_of(target: str) -> Path:
    """The file of a target's corpus; a target's name is `group-what`."""
    return CORPORA / target.partition("-")[0] / f"{target}.txt"


def load(target: str) -> dict[str, bytes]:
    """A target's inputs by their names; none where it has no corpus yet."""
    path = path_of(target)
    if not path.exists():
        return {}
    lines = (line.partition(" ") for line in path.read_text("ascii").splitlines())
    return {name: _read(text) for name, _, text in lines}


def store(target: str, inputs: Mapping[str, bytes]) -> None:
    """Write a target's inputs, those with names first; no file where there are none."""
    path = path_of(target)
    if not inputs:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(inputs.items(), key=lambda item: (is_digest(*item), item))
    path.write_text("".join(f"{name} {_write(data)}\n" for name, data in ordered), "ascii")


def digest_name(data: bytes) -> str:
    """The name of an input that showed no fault."""
    return hashlib.sha256(data).hexdigest()[:12]


def is_digest(name: str, data: bytes) -> bool:
    """Whether an input has no other name than its digest."""
    return name == digest_name(data)


def bounded(named: Mapping[str, bytes], others: Iterable[bytes]) -> dict[str, bytes]:
    """The named inputs, and as many of the others as there is room for."""
    kept = dict(named)
    left = CORPUS_MAX_BYTES
    for data in others:
        if len(data) <= left and len(kept) < INPUTS_MAX and data not in kept.values():
            kept[digest_name(data)] = data
            left -= len(data)
    return kept


def _write(data: bytes) -> str:
    text = data.decode("latin-1")
    plain = text.isascii() and all(c.isprintable() or c in "\r\n\t" for c in text)
    return json.dumps(text) if plain and text else data.hex()


def _read(text: str) -> bytes:
    return json.loads(text).encode("latin-1") if text.startswith('"') else bytes.fromhex(text)
