"""`make upgrade-from EARLIER=PYTHON`: agents of an earlier version become this one, under load.

    make upgrade-from EARLIER=/path/to/venv/bin/python

`EARLIER` is the Python of an environment in which the earlier version is installed. A pool of three
of its agents becomes this version agent by agent: tasks keep their processes, nothing that was
acknowledged is lost, and the level rises once the last agent is new.
"""

import argparse
import os
import subprocess

import trio

from p2pool import __version__
from p2pool.model import features
from tests.e2e.harness.actions import ENDLESS
from tests.upgrades.rolling import (
    OWN,
    Program,
    become,
    pool_of,
    processes,
    three_agents,
    under_load,
    wait_lagging,
    wait_level,
)


async def upgrade(earlier: Program) -> None:
    """The whole upgrade; an `AssertionError` or a timeout says what did not hold."""
    async with three_agents(earlier) as acting, under_load(acting) as load:
        first, second, third = acting.agents
        level = int((await pool_of(first))["feature_level"])
        versions = {node["agent_version"] for node in acting.run(first, "node", "ls")}
        print(f"three agents of {', '.join(versions)} at feature level {level}")
        mark = f"outlives-{os.getpid()}"
        task = acting.submit(first, "outlives", f": {mark}; {ENDLESS}", "--replicas", "3")
        await acting.wait_states(first, task, "running", "running", "running")
        before = processes(mark)
        for number, agent in enumerate((second, third, first)):
            await become(load, agent, OWN)
            print(f"{agent.name} runs {__version__}; {len(load.acknowledged)} tasks so far")
            if agent is not first and level < features.newest():
                await wait_lagging(acting, level, agent, *(third, first)[number:])
        await wait_level(acting, features.newest())
        copies = await acting.wait_states(third, task, "running", "running", "running")
        assert {copy["attempt"] for copy in copies} == {1}
        assert processes(mark) == before
        await load.check(first)
        print(
            f"from feature level {level} to {features.newest()}: {len(load.acknowledged)} tasks "
            f"acknowledged and none lost, {len(before)} processes ran on"
        )


def main() -> None:
    """Read the command line, and upgrade."""
    parser = argparse.ArgumentParser(prog="make upgrade-from", description=__doc__)
    parser.add_argument("earlier", metavar="PYTHON", help="that of the earlier version")
    python = parser.parse_args().earlier
    # `-P`: the package that is installed there, not the one in this folder.
    program = (python, "-P", "-m", "p2pool")
    said = subprocess.run([*program, "--version"], check=True, capture_output=True, text=True)
    print(f"upgrading from {said.stdout.strip()}")
    trio.run(upgrade, program)


if __name__ == "__main__":
    main()
