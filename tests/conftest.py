"""What holds for every run of the tests: budgets of time, and a machine that is left as it was."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.codec.next_version import as_first_version
from tests.session.budget import BudgetKeeper, add_option, longest_first
from tests.session.leftovers import LeftoverKeeper, WorkerKeeper

__all__ = ["as_first_version"]

TESTS = Path(__file__).resolve().parent

# No example has a deadline: on a machine with other work one may take any time.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this project's own."""
    add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Where tests are run by several processes, the one that hears of all of them judges."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(WorkerKeeper(), "worker-keeper")
    else:
        config.pluginmanager.register(BudgetKeeper(config, TESTS), "budget-keeper")
        config.pluginmanager.register(LeftoverKeeper(), "leftover-keeper")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several workers run tests, some folders are for one of them."""
    from tests.session.shares import scheduler  # Needs xdist, which a plain run does without.

    return scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with what takes longest: none has much to do when the others are done."""
    if hasattr(config, "workerinput"):
        longest_first(items, TESTS)
