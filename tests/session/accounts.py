"""The minutes that each folder of tests may take, those that it took, and what is said about both.

Minutes are of wall time, on two cores with nothing else running: that is what somebody waits for,
and what a CI pays for. CPU time would be steadier on a busy machine, but most tests wait (for an
engine, an election, a deadline), and what engines and agents use is nobody's child's time: a folder
that waits for ten minutes would cost nothing. A machine that is slower, or busy with other things,
is no fault of the tests: a folder fails only when it takes three times its budget, and a
whole run when it takes half more than its own. `--budget=show` tells, and fails nothing.

A test's time is that of its setup, call and teardown, so what a package sets up for all of its
tests counts for the first of them, and its end for the last. What belongs to no test, such as
importing modules, is in the total alone.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

LIMIT_FACTOR = 3.0
"""How much a folder takes of its budget before it fails. Machines were seen to take twice as long
for what only computes, and hardly longer for what only waits."""
WHOLE_LIMIT_FACTOR = 1.5
REASON_FROM_MINUTES = 1.0
LONGEST_SHOWN = 5


class BadBudget(ValueError):
    """The file of budgets is not as it should be; the text says what to do."""


@attrs.frozen
class Budget:
    """Minutes, and why they are needed where they are many."""

    minutes: float
    reason: str = ""

    @property
    def limit(self) -> float:
        """The minutes from which on the run fails."""
        return self.minutes * LIMIT_FACTOR


@attrs.frozen
class Budgets:
    """The budget of each folder, by its name, and the minutes that a whole run may take, in which
    so many workers run tests side by side."""

    total_minutes: float
    folders: Mapping[str, Budget]
    workers: int = 1


@attrs.define
class Account:
    """What the tests of one folder took, in seconds, by their names."""

    seconds: dict[str, float] = attrs.field(factory=dict)

    @property
    def minutes(self) -> float:
        """Of all of them together."""
        return sum(self.seconds.values()) / 60

    def longest(self) -> str:
        """The tests that took most, for people."""
        found = sorted(self.seconds.items(), key=lambda item: -item[1])[:LONGEST_SHOWN]
        return ", ".join(f"{test} {seconds:.0f} s" for test, seconds in found)


@attrs.define
class Accounts:
    """What was taken so far, by folder."""

    folders: dict[str, Account] = attrs.field(factory=dict)

    def add(self, test: str, seconds: float) -> None:
        """Count for a test, by its pytest id such as `tests/net/test_pubsub.py::test_it`."""
        account = self.folders.setdefault(folder_of(test), Account())
        account.seconds[test] = account.seconds.get(test, 0.0) + seconds


def folder_of(test: str) -> str:
    """The folder directly below tests/ that a test is in; a file that is in none stands alone."""
    return PurePosixPath(test.partition("::")[0]).parts[1]


def folders_with_tests(tests: Path) -> set[str]:
    """The folders below tests/, and files in none, that pytest finds tests in."""
    return {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}


# --- the file -----------------------------------------------------------------------------------


def read_budgets(path: Path) -> Budgets:
    """The budgets of a file. BadBudget: it cannot be read, or breaks a rule of this module."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadBudget(f"{path} cannot be read: {error}.") from error
    total, folders = raw.pop("total_minutes", None), raw.pop("folders", {})
    workers = raw.pop("workers", 1)
    if raw:
        raise BadBudget(f"{path} has {', '.join(raw)}, which means nothing there.")
    if not _is_minutes(total):
        raise BadBudget(f"{path} needs total_minutes, the minutes that all tests may take.")
    if not isinstance(workers, int) or workers < 1:
        raise BadBudget(f"{path}: workers is how many run tests side by side, 1 or more.")
    given = {name: _budget(path, name, one) for name, one in folders.items()}
    budgets = Budgets(total, given, workers)
    minutes = sum(budget.minutes for budget in budgets.folders.values())
    if minutes > total * workers:
        raise BadBudget(
            f"The budgets in {path} are {minutes:.1f} minutes together, and all tests may take"
            f" {total:g} with {workers} at work: take from one folder what another gets."
        )
    return budgets


def _budget(path: Path, name: str, one: Any) -> Budget:
    known = {"minutes", "reason"}
    if not isinstance(one, dict) or not set(one) <= known or not _is_minutes(one.get("minutes")):
        raise BadBudget(f"{path}: the budget of {name} is {{ minutes = ..., reason = ... }}.")
    budget = Budget(one["minutes"], str(one.get("reason", "")))
    if budget.minutes > REASON_FROM_MINUTES and not budget.reason:
        raise BadBudget(f"{path}: {name} needs a reason for more than one minute.")
    return budget


def _is_minutes(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def check_complete(budgets: Budgets, tests: Path) -> None:
    """BadBudget: a folder of tests without a budget, or a budget without a folder."""
    there = folders_with_tests(tests)
    without = sorted(there - set(budgets.folders))
    if without:
        raise BadBudget(
            f"No budget for tests/{', tests/'.join(without)}. Measure it, and write its minutes to"
            f" tests/budget.toml: pytest --budget=show tests/{without[0]}"
        )
    gone = sorted(set(budgets.folders) - there)
    if gone:
        raise BadBudget(
            f"tests/budget.toml has a budget for tests/{', tests/'.join(gone)}, where no test is:"
            " take it out."
        )


# --- what is said -------------------------------------------------------------------------------


def overdrafts(accounts: Accounts, budgets: Budgets) -> list[str]:
    """A sentence for each folder that took far more than its budget, and what to do."""
    said = []
    for name, account in sorted(accounts.folders.items()):
        budget = budgets.folders.get(name)
        if budget is not None and account.minutes > budget.limit:
            said.append(
                f"tests/{name} took {account.minutes:.1f} minutes, and its budget is"
                f" {budget.minutes:g}, at most {budget.limit:.1f}. Longest: {account.longest()}."
                " Make them shorter, move long runs to a make target of their own, or raise the"
                " budget in tests/budget.toml with a reason."
            )
    return said


def overrun(minutes: float, budgets: Budgets) -> list[str]:
    """A sentence where a whole run took half more than its budget."""
    limit = budgets.total_minutes * WHOLE_LIMIT_FACTOR
    if minutes <= limit:
        return []
    return [
        f"All tests took {minutes:.1f} minutes, and their budget is {budgets.total_minutes:g}, at"
        f" most {limit:.1f}."
        " The table above shows where they went."
    ]


def table(accounts: Accounts, budgets: Budgets, minutes: float) -> Iterable[str]:
    """A line for each folder that was run, the slowest first, and one for the whole run."""
    rows = sorted(accounts.folders.items(), key=lambda item: -item[1].minutes)
    yield f"{'folder':<16} {'minutes':>8} {'budget':>8}"
    for name, account in rows:
        budget = budgets.folders.get(name)
        allowed = f"{budget.minutes:8.1f}" if budget is not None else f"{'none':>8}"
        yield f"{name:<16} {account.minutes:8.1f} {allowed}"
    yield f"{'the whole run':<16} {minutes:8.1f} {budgets.total_minutes:8.1f}"
