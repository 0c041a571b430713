"""The pages of long runs say what ran, and a page of seeds grows by a line for each run."""

from pathlib import Path

import attrs
import pytest

from tests.sim import reports
from tests.sim.faults.scenario import Outcome

OUTCOME = Outcome(
    seed=3,
    size=5,
    submitted=9,
    accepted=7,
    reads=4,
    tasks=6,
    started=8,
    terms=2,
    crashes=1,
    converged_ms=90_000,
    events=1000,
)


@pytest.fixture(autouse=True)
def _at_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names a commit; which one is not what is shown here."""
    monkeypatch.setattr(reports, "commit", lambda: "abc1234")


def test_each_run_of_seeds_adds_its_line(tmp_path: Path) -> None:
    """What a run found stays on the page when the next one writes there."""
    page = tmp_path / "reports" / "sim.md"
    later = attrs.evolve(OUTCOME, seed=5)
    reports.add_seeds(page, range(3, 6), [OUTCOME, later], ["seed 4: Violation: lost"], 61)
    reports.add_seeds(page, range(6, 7), [attrs.evolve(OUTCOME, seed=6)], [], 30)
    first, second = page.read_text().splitlines()[-2:]
    assert "| abc1234 | 3 to 5 | 2 of 3; seed 4 | 0.1 | 14 | 0 | 16 | 2000 | 1 min |" in first
    assert "| abc1234 | 6 to 6 | 1 of 1 |" in second


def test_a_page_of_bugs_tells_how_many_were_found(tmp_path: Path) -> None:
    """One that no seed finds is on the page too."""
    page = tmp_path / "mutations.md"
    about = {"votes-twice": "Who asks second gets a vote.", "silent": "Nothing."}
    reports.write_mutations(page, {"votes-twice": 2, "silent": 0}, range(10), about, 60)
    text = page.read_text()
    assert "**1 of 2 were found.**" in text
    assert "| `votes-twice` | Who asks second gets a vote. | 2 |" in text
