"""The plugin that keeps the budgets of `tests/budget.toml`: a table at the end, and a verdict.

A run of all tests fails by it (`make test`); a part of them shows nothing, unless it is asked to:
`--budget=show` for the table, `--budget=keep` for the verdict as well.
"""

import os
import time
from pathlib import Path

import pytest

from tests.session.accounts import (
    Accounts,
    BadBudget,
    Budgets,
    check_complete,
    folder_of,
    overdrafts,
    overrun,
    read_budgets,
    table,
)

PARTIAL = (
    "keyword",
    "markexpr",
    "deselect",
    "ignore",
    "ignore_glob",
    "lf",
    "stepwise",
    "collectonly",
)
"""Options of pytest by which not all tests are run."""


def add_option(parser: pytest.Parser) -> None:
    """`--budget`."""
    parser.addoption(
        "--budget",
        choices=("auto", "off", "show", "keep"),
        default="auto",
        help="minutes by folder: shown, or kept (the run fails); auto: kept when all tests run",
    )


class BudgetKeeper:
    """Counts while the tests run, and judges at the end."""

    def __init__(self, config: pytest.Config, tests: Path) -> None:
        """UsageError at once where the file of budgets is not as it should be."""
        mode = str(config.getoption("--budget"))
        self._whole = runs_all(config, tests)
        self._workers = int(getattr(config.option, "numprocesses", None) or 1)
        if mode == "auto":
            mode = "keep" if self._whole else "off"
        self._shows, self._keeps = mode != "off", mode == "keep"
        self._accounts = Accounts()
        self._began = time.monotonic()
        self._minutes = 0.0
        self._budgets = Budgets(0, {})
        if self._shows:
            try:
                self._budgets = read_budgets(tests / "budget.toml")
                if self._keeps:
                    check_complete(self._budgets, tests)
            except BadBudget as error:
                raise pytest.UsageError(str(error)) from error

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown of each test."""
        self._accounts.add(report.nodeid, report.duration)

    def pytest_deselected(self) -> None:
        """Some test is not run."""
        self._whole = False

    def _verdict(self) -> list[str]:
        if not self._keeps:
            return []
        said = overdrafts(self._accounts, self._budgets)
        in_time = self._whole and self._workers >= self._budgets.workers
        return said + (overrun(self._minutes, self._budgets) if in_time else [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run that took too long fails, however well its tests did."""
        self._minutes = (time.monotonic() - self._began) / 60
        if self._verdict() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table, and a sentence for whatever took too long."""
        if not self._shows:
            return
        terminalreporter.section("minutes by folder")
        for line in table(self._accounts, self._budgets, self._minutes):
            terminalreporter.line(line)
        verdict = self._verdict()
        for sentence in verdict:
            terminalreporter.line(f"ERROR {sentence}", red=True)
        if verdict:
            terminalreporter.line(
                f"The machine's load was {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores over"
                " the last 15 minutes. If that was other work: try again when it is quiet."
            )


def longest_first(items: list[pytest.Item], tests: Path) -> None:
    """Sort tests by the budgets of their folders; within a folder they stay as they are."""
    try:
        budgets = read_budgets(tests / "budget.toml").folders
    except BadBudget:
        return  # The process that started this worker says so.
    minutes = {name: budget.minutes for name, budget in budgets.items()}
    items.sort(key=lambda item: -minutes.get(folder_of(item.nodeid), 0))


def runs_all(config: pytest.Config, tests: Path) -> bool:
    """Whether a run was asked for all tests, not for some of them."""
    chosen = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return chosen in ([tests], [tests.parent]) and not any(
        getattr(config.option, name, None) for name in PARTIAL
    )
