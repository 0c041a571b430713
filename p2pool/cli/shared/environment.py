"""Refuses variables named P2POOL_* that nothing reads: a misspelt one would change nothing.

Intuition: `P2POOL_AGNET=...` is an agent that somebody named and nobody asks. The names are few, so
each is listed here; those of the configuration (`P2POOL_SECTION__KEY`) are those of its schema.
"""

import os
import re
from collections.abc import Mapping

from p2pool.model.errors import Misconfigured

PREFIX = "P2POOL_"
READ = (
    *("P2POOL_AGENT", "P2POOL_CONFIG", "P2POOL_DATA_DIR", "P2POOL_DELEGATION", "P2POOL_DEV_DIR"),
    "P2POOL_KEY",
    *("P2POOL_PASSPHRASE", "P2POOL_PASSPHRASE_FILE", "P2POOL_TOKEN", "P2POOL_TOKEN_FILE"),
    *("P2POOL_CA", "P2POOL_ALLOW_HTTP"),
)
"""What commands read."""
GIVEN = (
    *("P2POOL_TASK_ID", "P2POOL_ALLOCATION", "P2POOL_REPLICA", "P2POOL_REPLICAS"),
    *("P2POOL_ATTEMPT", "P2POOL_NODE_ID", "P2POOL_POOL_ID", "P2POOL_GPUS"),
    *("P2POOL_METRICS_SOCKET", "P2POOL_RUN_DIRECTORY", "P2POOL_SECRETS"),
)
"""What every copy of a task finds: a command may run inside one."""
DEVELOPMENT = ("P2POOL_REWRITE_GOLDEN", "P2POOL_LIFECYCLE", "P2POOL_LIFECYCLES")
"""What the tests of this repository read."""
_TESTS = "P2POOL_TEST_"
# What Kubernetes and docker's links set in every container beside a service named p2pool.
_SERVICE = re.compile(
    r"P2POOL_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|NAME|"
    r"PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def check_environment(environment: Mapping[str, str] = os.environ) -> None:
    """`Misconfigured` names every P2POOL_* variable that nothing reads."""
    problems = [
        problem
        for name in sorted(environment)
        if name.startswith(PREFIX) and (problem := _problem(name))
    ]
    if problems:
        raise Misconfigured(
            f"The environment has what nothing reads: {'; '.join(problems)}.",
            hint="Correct the name, or unset it.",
        )


def _problem(name: str) -> str:
    """What is wrong with the name of a variable, or nothing."""
    if "__" in name:
        from p2pool.drivers.config.schema import override_problem

        problem = override_problem(name)
        return f"{name}: {problem}" if problem else ""
    known = name in READ or name in GIVEN or name in DEVELOPMENT or name.startswith(_TESTS)
    if known or _SERVICE.fullmatch(name):
        return ""
    from difflib import get_close_matches  # Costs each command 2 ms, and is seldom needed.

    near = get_close_matches(name, READ, n=1)
    return f"{name} is unknown" + (f" (did you mean {near[0]}?)" if near else "")
