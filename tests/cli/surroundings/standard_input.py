"""Standard input that holds what a test says."""

import io

import pytest

from p2pool.drivers.input_files import forget_input


class Stdin(io.TextIOWrapper):
    """Standard input that holds this."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have these bytes come from it, as if nobody had read it yet."""
    forget_input()
    monkeypatch.setattr("sys.stdin", Stdin(data))
