"""The table of expected figures per model, a data file with a version and a source for each row.

Intuition: a claim names a model, and the model's data sheet says what its cards do. A claim of a
model that is not in the table is not challenged by guesswork.

Invariant: every figure is a positive integer; a row without a source is refused, and so is a key
that means nothing here.
Source: `figures.json` beside this module; docs/design/validation.md, "Figures".
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from p2pool.model.errors import Misconfigured, NotFound
from p2pool.validator.challenge.sizes import Sizes, sizes_of

TABLE = Path(__file__).with_name("figures.json")
NUMBERS = (
    "int8_ops_per_s",
    "memory_bytes",
    "memory_bytes_per_s",
    "hashes_per_s_max",
    "product_permille",
    "memory_permille",
)


@attrs.frozen
class Figures:
    """What a card of a model is expected to do, and how much of that a claim has to show."""

    names: tuple[str, ...]
    int8_ops_per_s: int
    memory_bytes: int
    memory_bytes_per_s: int
    hashes_per_s_max: int
    product_permille: int
    memory_permille: int
    source: str


@attrs.frozen
class FigureTable:
    """All models of one version of the table, and how large the work is by which they are shown."""

    version: int
    models: tuple[Figures, ...]
    sizes: Sizes = Sizes()

    def of(self, model: str) -> Figures:
        """The row of a model, by the name that its driver reports."""
        for row in self.models:
            if model in row.names:
                return row
        raise NotFound(
            f"The table of expected figures has no GPU called {model!r}.",
            hint=f"Add it to {TABLE.name} with its data sheet as the source, or validate by hand.",
        )


def read_table(text: str) -> FigureTable:
    """A table from its JSON; `Misconfigured` says which row is wrong."""
    try:
        content = json.loads(text)
        rows = tuple(_row(one) for one in content["models"])
        table = FigureTable(int(content["version"]), rows, sizes_of(content.get("sizes", {})))
        unknown = sorted(set(content) - {"version", "about", "models", "sizes"})
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}")
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(
            f"The table of expected figures is not in its form: {error}.",
            hint=f"Compare it with {TABLE.name} of this version.",
        ) from error
    names = [name for row in rows for name in row.names]
    if len(set(names)) != len(names):
        raise Misconfigured("The table of expected figures has a model twice.")
    return table


def _row(one: dict[str, Any]) -> Figures:
    names = tuple(str(name) for name in one["names"])
    numbers = {key: one[key] for key in NUMBERS}
    wrong = [key for key, value in numbers.items() if type(value) is not int or value <= 0]
    unknown = sorted(set(one) - {*NUMBERS, "names", "source"})
    if wrong or unknown or not names or not one["source"]:
        raise ValueError(f"{', '.join(names) or 'a row'}: {', '.join(wrong + unknown) or 'empty'}")
    return Figures(names=names, source=str(one["source"]), **numbers)


@cache
def expected_figures() -> FigureTable:
    """The table that comes with this version."""
    return read_table(TABLE.read_text(encoding="utf-8"))
