"""An agent looks at its own machine before it joins: nobody stakes for one that does not qualify.

Intuition: hardware and software are checked as `p2pool agent check` does. While something fails the
node does not set out; it says what, and looks again, so that whoever mends it needs to do nothing
else. What is only worth knowing is said once. A node that is in the pool already is never held up:
what it cannot do any more, its heartbeats say. The chain needs no check here, since joining itself
says what it waits for.
"""

import trio

from p2pool.agent.options import AgentOptions
from p2pool.drivers.checks.run import Subject, run_checks
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.logs import get_logger
from p2pool.model import limits
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.ports.runtime import ContainerRuntime

log = get_logger(__name__)


async def wait_qualified(options: AgentOptions, runtime: ContainerRuntime) -> None:
    """Return once nothing fails, however long that takes."""
    docker = runtime if isinstance(runtime, DockerRuntime) else None
    subject = Subject(options.config, options.directory, docker, runtime.scope.node_id)
    said: list[Check] = []
    while True:
        checks = await run_checks(subject, (Group.HARDWARE, Group.SOFTWARE))
        for check in checks:
            if check not in said:
                _say(check)
        said = checks
        failed = [check.name for check in checks if check.verdict is Verdict.FAIL]
        if not failed:
            return
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
