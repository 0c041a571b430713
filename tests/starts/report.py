"""The report of a run of starts, in Markdown: every figure in it comes from the run itself."""

import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from p2pool import __version__
from tests.starts.start import Start

ROOT = Path(__file__).resolve().parents[2]


def report(starts: Sequence[Start], busy_loops: int, nodes: int) -> str:
    """The whole report. `starts` is not empty."""
    came_up = sum(start.reason is None for start in starts)
    lines = [
        "# Starts of a development pool",
        "",
        f"Made by `make starts N={len(starts)}` on {datetime.now(UTC):%Y-%m-%d} with p2pool "
        f"{__version__} at commit {commit()}, Python {platform.python_version()}, "
        f"{psutil.cpu_count()} cores.",
        "",
        f"Each start is `p2pool dev up` ({nodes} agents) and `p2pool dev down`. `dev up` returns "
        "when each agent has heard every other and all follow one leader. Quiet and busy starts "
        f"take turns; a busy one has {busy_loops} endless loops beside it. Load is the kernel's "
        "average over the last minute: it tells what else the machine carried.",
        "",
        f"**{came_up} of {len(starts)} came up.**",
        "",
        "| | starts | came up | median | 95th | slowest | median load |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            _row(name, [s for s in starts if s.busy is busy])
            for name, busy in (("quiet", False), (f"beside {busy_loops} busy loops", True))
        ),
    ]
    failed = [start for start in starts if start.reason is not None]
    if failed:
        lines += ["", "## Starts that failed", ""]
        for start in failed:
            lines += [
                f"- start {start.number} ({'busy' if start.busy else 'quiet'}), after "
                f"{start.seconds:.0f} s: `{' '.join((start.reason or '').split())}`"
            ]
    return "\n".join(lines) + "\n"


def _row(name: str, starts: Sequence[Start]) -> str:
    """One half of the table."""
    if not starts:
        return f"| {name} | 0 | | | | | |"
    seconds = sorted(start.seconds for start in starts)
    late = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    came_up = sum(start.reason is None for start in starts)
    return (
        f"| {name} | {len(starts)} | {came_up} | {statistics.median(seconds):.1f} s "
        f"| {late:.1f} s | {seconds[-1]:.1f} s "
        f"| {statistics.median(start.load for start in starts):.1f} |"
    )


def commit() -> str:
    """The commit of the tree that ran, marked when files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
