"""`make fuzz`: fuzz every decoder that a stranger reaches, cut the corpora, write the report.

Runs go on where earlier ones stopped: what they reached is in a directory of its own. A finding
stays there until its decoder no longer shows it; exit 1 while there is one.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import corpus, reach
from tests.fuzz.report import report
from tests.fuzz.target import ROOT, Target, examine
from tests.fuzz.targets.registered import targets

CUT_S = 20
"""So long the inputs of one target are traced, the shortest first; tracing is slow."""


def main() -> int:
    """0 if no finding is left."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, metavar="N", help="for each target")
    parser.add_argument("--only", default="", metavar="WORD", help="targets with it in their name")
    parser.add_argument("--directory", type=Path, default=ROOT / ".cache/fuzz", metavar="PATH")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here as well")
    given = parser.parse_args()
    known = targets()
    chosen = [one for name, one in known.items() if given.only in name]
    if not chosen:
        parser.error(f"no target has {given.only!r} in its name: {', '.join(known)}")
    for one in chosen:
        if given.seconds:
            fuzz(one, given.directory / one.name, given.seconds)
        look_again(one, given.directory / one.name)
        cut(one, given.directory / one.name)
    text = report(known, given.directory)
    print(text)
    if given.report is not None:
        given.report.write_text(text)
    return 1 if "## Findings that are open" in text else 0


def fuzz(one: Target, directory: Path, seconds: int) -> None:
    """Fuzz a target in a process of its own; a crash of the whole process is a finding too."""
    print(f"{one.name}: {seconds} s", flush=True)
    way = "guided" if one.guided else "any"
    words = [sys.executable, "-m", "tests.fuzz.child", one.name, str(directory), str(seconds), way]
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "log", "wb") as log:
        done = subprocess.run(words, cwd=ROOT, stdout=log, stderr=log, check=False)
    if done.returncode:
        told = f"the process ended with {done.returncode}: see {directory / 'log'}"
        (directory / "findings").mkdir(exist_ok=True)
        (directory / "findings" / "ended.txt").write_text(f"ended\n{told}\n")


def look_again(one: Target, directory: Path) -> None:
    """Forget the findings that the decoder no longer shows."""
    for path in sorted((directory / "findings").glob("*.txt")):
        data = path.with_suffix("")
        if data.exists() and examine(one, data.read_bytes(), memory=True) is None:
            path.unlink()
            data.unlink()


def cut(one: Target, directory: Path) -> None:
    """Keep of all inputs the fewest that reach what they all reach, and those with names."""
    before = corpus.load(one.name)
    named = {name: data for name, data in before.items() if not corpus.is_digest(name, data)}
    found = [path.read_bytes() for path in sorted((directory / "inputs").glob("*"))]
    corpus.store(one.name, corpus.bounded(named, _chosen(one, [*before.values(), *found])))


def _chosen(one: Target, inputs: Sequence[bytes]) -> list[bytes]:
    """Few inputs of all, beyond the seeds, which are always run."""
    seeds = set(one.seeds())
    reached = set[object]()
    ends_s = time.monotonic() + CUT_S
    for data in seeds:
        reached |= reach.reached(one, data)
    spread: dict[bytes, set[object]] = {}
    for data in sorted(set(inputs) - seeds, key=len):
        if time.monotonic() > ends_s:
            print(f"{one.name}: {len(spread)} of {len(inputs)} inputs were looked at in {CUT_S} s")
            break
        spread[data] = reach.reached(one, data) - reached
    return reach.fewest(spread)


if __name__ == "__main__":
    sys.exit(main())
