"""What holds for every run of the tests: budgets of time, and a machine that is left as it was."""

from pathlib import Path

import pytest

from tests.session.budget import BudgetKeeper, add_option
from tests.session.leftovers import LeftoverKeeper

TESTS = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this project's own."""
    add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Where tests are run by several processes, the one that hears of all of them judges."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(BudgetKeeper(config, TESTS), "budget-keeper")
        config.pluginmanager.register(LeftoverKeeper(), "leftover-keeper")
