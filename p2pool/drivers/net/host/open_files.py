"""How many descriptors this process may have: enough for every connection that it lets in.

Intuition: the places of a host bound its sockets, but a usual login allows a process fewer. Then
the kernel refuses what the host would let in, and whoever opens sockets shuts the door after all.
So the soft limit is raised as far as the bounds need, if the hard one allows it. Where it is
reached all the same, the listener waits a moment and goes on (trio's `serve_listeners`); it would
say so ten times a second, with a traceback.
"""

import logging
import resource
import time

from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits

log = get_logger(__name__)


def raise_open_files(needed: int = limits.OPEN_FILES_NEEDED) -> bool:
    """Raise the soft limit to `needed`, as far as it goes; False, and a line, if it falls short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "this process may open too few files: strangers can keep others from connecting;"
            " raise the limit (ulimit -n, LimitNOFILE)",
            allowed=allowed,
            needed=needed,
        )
    return allowed >= needed


class OnceInAWhile(logging.Filter):
    """Lets one line through, and no other for a while."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._said_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes; without the traceback, which names the library."""
        now_s = time.monotonic()
        if now_s - self._said_s < limits.ACCEPT_FAILED_SAID_MS / 1000:
            return False
        self._said_s = now_s
        record.exc_info = record.exc_text = None
        return True


def say_accept_failures_seldom() -> None:
    """Once for the process, whatever number of listeners it has."""
    logger = logging.getLogger("trio.serve_listeners")
    if not any(isinstance(one, OnceInAWhile) for one in logger.filters):
        logger.addFilter(OnceInAWhile())
