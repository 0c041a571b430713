"""Checks an agent's own machine before it joins: nobody stakes for one that does not qualify.

Intuition: the same hardware and software checks as `p2pool agent check`. While one fails, the node
does not start joining; it logs what fails and checks again, so the owner only has to fix the
problem. Warnings are logged once. A node that is already in the pool is never held up: its
heartbeats report what it can no longer do. Of the chain only the pool's requirements are read here,
and while nobody can read them nothing is paid; joining itself reports what else it waits for.
"""

from collections.abc import Callable

import trio

from p2pool.agent.options import AgentOptions
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.checks.onchain import REQUIREMENTS
from p2pool.drivers.checks.run import Subject, run_checks
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import limits
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.ports.runtime import ContainerRuntime

log = get_logger(__name__)


async def wait_qualified(
    options: AgentOptions, runtime: ContainerRuntime, tell: Callable[[str], None]
) -> None:
    """Return once nothing fails, however long that takes; `tell` hears what does."""
    docker = runtime if isinstance(runtime, DockerRuntime) else None
    subject = Subject(options.config, options.directory, docker, runtime.scope.node_id)
    said: list[Check] = []
    while True:
        checks = await run_checks(subject, (Group.HARDWARE, Group.SOFTWARE))
        for check in checks:
            if check not in said:
                _say(check)
        said = checks
        failures = [check for check in checks if check.verdict is Verdict.FAIL]
        failed = [check.name for check in failures]
        if not failed:
            return
        if set(failed) == {REQUIREMENTS}:
            # The machine is not at fault, and the chain may answer in a moment.
            tell(f"The pool's requirements are {failures[0].found} {failures[0].todo}".strip())
            await trio.sleep(limits.REQUIREMENTS_RETRY_MS / 1000)
            continue
        tell(
            f"This machine does not qualify ({', '.join(failed)}), so joining waits: see"
            " `p2pool agent check`."
        )
        log.warning(
            "this machine does not qualify for the pool: joining waits",
            failed=failed,
            again_in_s=limits.CHECK_RETRY_MS // 1000,
        )
        await trio.sleep(limits.CHECK_RETRY_MS / 1000)


def _say(check: Check) -> None:
    say = {Verdict.PASS: log.debug, Verdict.WARN: log.warning, Verdict.FAIL: log.error}
    say[check.verdict](
        "machine check",
        check=f"{check.group.value}: {check.name}",
        found=check.found,
        needed=check.needed,
        todo=check.todo,
    )
