"""`make validation-report`: what a challenge of the reference prover costs, and what it finds."""

import argparse
import sys
from pathlib import Path

import psutil

from tests.e2e.validator.calibration import calibrated
from tests.validation_report.measured import measure
from tests.validation_report.report import report
from tests.validation_report.soundness import challenged, drawn

EVERY = (1000, 100, 20)
CHANCE_MIN = 0.001
"""What happens less often than this by chance has another reason."""


def main() -> int:
    """0 when the honest prover passed every time, and cheats were found as often as stated."""
    parser = argparse.ArgumentParser(prog="make validation-report", description=__doc__)
    parser.add_argument("--challenges", type=int, default=10, metavar="N")
    parser.add_argument("--draws", type=int, default=2000, metavar="N")
    parser.add_argument(
        "--whole", type=int, default=500, metavar="N", help="whole challenges, in virtual time"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here as well")
    given = parser.parse_args()
    if min(given.challenges, given.draws, given.whole) < 1:
        parser.error("--challenges, --draws and --whole take a number from 1")
    load = psutil.getloadavg()[0]
    table = calibrated()
    measured = [measure(table) for _ in range(given.challenges)]
    found = [*(drawn(every, given.draws) for every in EVERY), *challenged(given.whole)]
    text = report(table, measured, found, load)
    print(text)
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    passed = all(one.evidence.conclusion.value == "valid" for one in measured)
    stated = all(one.chance >= CHANCE_MIN and (one.stated or not one.found) for one in found)
    return 0 if passed and stated else 1


if __name__ == "__main__":
    sys.exit(main())
