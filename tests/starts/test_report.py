"""The report of starts says what the run showed, failures included, and busy loops end."""

import json
from pathlib import Path

import attrs
import pytest

from tests.session.leftovers import children_with
from tests.starts.__main__ import earlier
from tests.starts.report import report
from tests.starts.start import BUSY_LOOP, Start, busy_loops, start_once


def test_a_failed_start_is_counted_and_quoted() -> None:
    """Whoever reads the report sees how many failed, which, and why."""
    starts = [
        Start(0, False, 10.0, 1.0),
        Start(1, True, 30.0, 4.5),
        Start(2, False, 90.0, 2.0, "dev up ended with 5: error: no\nheartbeats"),
    ]
    text = report(starts, 2, 3)
    assert "**2 of 3 came up.**" in text
    assert "| quiet | 2 | 1 | 50.0 s | 90.0 s | 90.0 s | 1.5 |" in text
    assert "| beside 2 busy loops | 1 | 1 | 30.0 s | 30.0 s | 30.0 s | 4.5 |" in text
    assert "start 2 (quiet), after 90 s: `dev up ended with 5: error: no heartbeats`" in text


def test_busy_loops_run_for_the_length_of_a_block_alone() -> None:
    """A run leaves no endless loop on the machine."""
    with busy_loops(2):
        assert len(children_with(BUSY_LOOP)) == 2
    assert not children_with(BUSY_LOOP)


def test_a_start_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that cannot start is a failed start with a reason, and leaves no directory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr("sys.executable", "/bin/false")
    start = start_once(7, False, tmp_path / "kept")
    assert start.reason == "dev up ended with 1: "
    assert start.kept == str(tmp_path / "kept" / "start-7")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_interrupted_run_goes_on_from_what_was_written_down(tmp_path: Path) -> None:
    """An hour's work is not lost: results are read back as they were."""
    results = tmp_path / "starts.jsonl"
    assert earlier(results) == []
    failed = Start(1, True, 30.0, 4.5, "dev up ended with 5: no heartbeats", "/tmp/logs")
    results.write_text(json.dumps(attrs.asdict(failed)) + "\n")
    assert earlier(results) == [failed]
