"""`python -m tests.attacks.attacker NAMES SECONDS`: attacks, all at once.

It says when it is ready; then the stage comes on standard input, a line of JSON, and what it
counted goes to standard output. It gives way to other processes: its victim would have a processor
of its own.
"""

import json
import os
import resource
import sys

import trio

from tests.attacks.attacker.names import NAMES
from tests.attacks.attacker.stage import ATTACKS, Stage

POLITE = 3


async def run(names: list[str], seconds: float, stage: Stage) -> None:
    """Attack for so long."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(ATTACKS[name], stage)


def main() -> None:
    """Read the command line and the stage, and attack."""
    names, seconds = sys.argv[1].split(","), float(sys.argv[2])
    assert set(names) <= set(NAMES), names
    os.nice(POLITE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("ready", flush=True)
    stage = Stage.read(sys.stdin.readline())
    trio.run(run, names, seconds, stage)
    print(json.dumps(stage.counts), flush=True)


if __name__ == "__main__":
    main()
