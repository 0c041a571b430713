"""Reads a table of expected figures of one's own, for a pool that has models of its own."""

from pathlib import Path

from p2pool.drivers.input_files import read_input
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.validator.challenge.figures import FigureTable, expected_figures, read_table


def read_figures(path: Path | None) -> FigureTable:
    """The table in a file, else the one that comes with this version; `Misconfigured` says what is
    wrong with it."""
    if path is None:
        return expected_figures()
    try:
        data = read_input(path, limits.FIGURES_FILE_MAX_BYTES, "figures")
    except OSError as error:
        raise Misconfigured(
            f"The table of expected figures {path} cannot be read: {error.strerror}.",
            hint="Leave --figures out to take the one that comes with this version.",
        ) from error
    if len(data) > limits.FIGURES_FILE_MAX_BYTES:
        raise Misconfigured(
            f"The table of expected figures {path} is longer than"
            f" {limits.FIGURES_FILE_MAX_BYTES} bytes."
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Misconfigured(f"The table of expected figures {path} is no text in UTF-8.") from error
    return read_table(text)
