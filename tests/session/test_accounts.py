"""Time is counted for the folder where it was spent, and said in sentences that tell what to do."""

from pathlib import Path

import pytest

from tests.session.accounts import (
    Accounts,
    BadBudget,
    Budget,
    Budgets,
    check_complete,
    folder_of,
    overdrafts,
    overrun,
    read_budgets,
    table,
)

TESTS = Path(__file__).resolve().parents[1]
BUDGETS = Budgets(10, {"net": Budget(2, "real hosts"), "core": Budget(1)})


def accounts(**seconds: float) -> Accounts:
    """What was taken by two tests of each of these folders."""
    made = Accounts()
    for folder, each in seconds.items():
        for number in range(2):
            made.add(f"tests/{folder}/test_{folder}.py::test_{number}[a/b::c]", each)
    return made


def test_the_budgets_of_this_project_are_complete() -> None:
    """As a run of all tests asks before it begins."""
    check_complete(read_budgets(TESTS / "budget.toml"), TESTS)


def test_a_test_counts_for_the_folder_it_is_in() -> None:
    """However deep, and whatever its parameters are; each of its phases is added."""
    assert folder_of("tests/net/deep/test_x.py::Class::test_y[/tests/core/z]") == "net"
    assert folder_of("tests/test_layers.py::test_y[p2pool/core/x.py]") == "test_layers.py"
    made = accounts(net=3.0)
    made.add("tests/net/test_net.py::test_0[a/b::c]", 57.0)
    assert made.folders["net"].minutes == pytest.approx((3.0 + 3.0 + 57.0) / 60)
    assert made.folders["net"].longest().startswith("tests/net/test_net.py::test_0[a/b::c] 60 s, ")


def test_three_times_the_budget_is_the_limit() -> None:
    """Up to it nothing is said; beyond it which folder, which tests, and what to do."""
    assert overdrafts(accounts(net=180.0, core=90.0), BUDGETS) == []
    (said,) = overdrafts(accounts(net=180.1, core=90.0), BUDGETS)
    for part in ("tests/net took 6.0 minutes", "budget is 2", "test_net.py::test_1", "make target"):
        assert part in said
    assert len(overdrafts(accounts(net=180.1, core=90.1), BUDGETS)) == 2


def test_the_whole_run_has_a_limit_of_its_own() -> None:
    """Also when each folder keeps its budget."""
    assert overrun(15.0, BUDGETS) == []
    assert "took 15.1 minutes, and their budget is 10" in overrun(15.1, BUDGETS)[0]


def test_the_table_has_the_slowest_first_and_all_that_was_run() -> None:
    """Those without a budget, too."""
    lines = list(table(accounts(core=3.0, net=30.0, odd=9.0), BUDGETS, 1.5))
    assert [line.split() for line in lines] == [
        ["folder", "minutes", "budget"],
        ["net", "1.0", "2.0"],
        ["odd", "0.3", "none"],
        ["core", "0.1", "1.0"],
        ["the", "whole", "run", "1.5", "10.0"],
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("total_minutes = 9\n[folders", "cannot be read"),
        ("[folders]\na = { minutes = 1 }", "needs total_minutes"),
        ("total_minutes = 0", "needs total_minutes"),
        ("total_minutes = 9\n[folder]\na = { minutes = 1 }", "has folder, which means nothing"),
        ("total_minutes = 9\n[folders]\na = 1", "the budget of a is"),
        ("total_minutes = 9\n[folders]\na = { minutes = -1 }", "the budget of a is"),
        ("total_minutes = 9\n[folders]\na = { minutes = true }", "the budget of a is"),
        ("total_minutes = 9\n[folders]\na = { minute = 1 }", "the budget of a is"),
        ("total_minutes = 9\n[folders]\na = { minutes = 2 }", "a needs a reason"),
        (
            "total_minutes = 1.5\n[folders]\na = { minutes = 1 }\nb = { minutes = 1 }",
            "2.0 minutes together",
        ),
        ("total_minutes = 9\nworkers = 0\n[folders]", "workers is how many"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """Nothing in it is ignored."""
    path = tmp_path / "budget.toml"
    path.write_text(text)
    with pytest.raises(BadBudget, match=said):
        read_budgets(path)


def test_workers_share_the_minutes_of_a_whole_run(tmp_path: Path) -> None:
    """Two of them have twice as many, and not more."""
    path = tmp_path / "budget.toml"
    rows = "[folders]\na = { minutes = 1 }\nb = { minutes = 1 }\n"
    path.write_text(f"total_minutes = 1\nworkers = 2\n{rows}")
    assert read_budgets(path).workers == 2
    path.write_text(f"total_minutes = 1\nworkers = 2\n{rows}c = {{ minutes = 0.1 }}\n")
    with pytest.raises(BadBudget, match="1 with 2 at work"):
        read_budgets(path)


def test_folders_and_budgets_belong_together(tmp_path: Path) -> None:
    """A folder without a budget fails, and a budget without tests."""
    for name in ("net", "net/deep", "core", "bench"):
        (tmp_path / name).mkdir()
    (tmp_path / "net" / "deep" / "test_x.py").touch()
    (tmp_path / "bench" / "load.py").touch()
    with pytest.raises(BadBudget, match="budget for tests/core, where no test is"):
        check_complete(BUDGETS, tmp_path)
    (tmp_path / "core" / "test_x.py").touch()
    check_complete(BUDGETS, tmp_path)
    (tmp_path / "bench" / "test_x.py").touch()
    with pytest.raises(BadBudget, match="pytest --budget=show tests/bench"):
        check_complete(BUDGETS, tmp_path)
