"""The report of what was fuzzed, in Markdown: every figure in it comes from the runs themselves."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from p2pool import __version__
from tests.fuzz import corpus
from tests.fuzz.target import Target
from tests.starts.report import commit


def report(targets: Mapping[str, Target], directory: Path) -> str:
    """The whole report, of the runs that left their figures in a directory."""
    rows = [_row(one, directory / one.name) for one in targets.values()]
    lines = [
        "# Fuzzing",
        "",
        f"Made by `make fuzz` on {datetime.now(UTC):%Y-%m-%d} with p2pool {__version__} at commit "
        f"{commit()}, Python {platform.python_version()}, atheris {_atheris()}.",
        "",
        "Each target hands bytes of a stranger to one decoder (`tests/fuzz/targets`): it may "
        "refuse them as it says, or take them by its laws; anything else is a finding. Time is the "
        "wall's, of one process on a machine that did other things too, over all runs; a corpus is "
        "what is left of the inputs once each reaches something that no other does.",
        "",
        "| target | what it decodes | time | inputs tried | corpus | inputs that showed a fault |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]
    left = _left(list(targets), directory)
    lines += ["## Findings that are open", "", *left] if left else ["No finding is open."]
    return "\n".join(lines) + "\n"


def _row(one: Target, directory: Path) -> str:
    spent = directory / "spent.json"
    figures = json.loads(spent.read_text()) if spent.exists() else {"runs": 0, "seconds": 0}
    kept = corpus.load(one.name)
    named = [name for name, data in kept.items() if not corpus.is_digest(name, data)]
    what = (one.run.__doc__ or "").partition(":")[0].partition(".")[0].split("\n")[0]
    return (
        f"| {one.name} | {what} | {figures['seconds'] / 60:.1f} min | {figures['runs']:,} "
        f"| {len(kept)} | {', '.join(named)} |"
    )


def _left(names: Sequence[str], directory: Path) -> list[str]:
    """The findings of each target that its decoder still shows."""
    return [
        f"- {name}: `{' '.join(path.read_text().split())}`"
        for name in names
        for path in sorted((directory / name / "findings").glob("*.txt"))
    ]


def _atheris() -> str:
    try:
        return version("atheris")
    except PackageNotFoundError:
        return "(none)"
