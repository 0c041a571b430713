"""Which tests one worker takes as a whole, where several run tests side by side.

A worker takes a file at a time (`--dist loadfile`). Where all files of a folder use one pool of
agents, that took minutes to come up, each worker would bring up one of its own: twice the time, and
two pools of processes that want the same cores. So those folders are taken as if each were a file.
"""

from collections.abc import Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

WHOLE = ("tests/chaos/", "tests/e2e/one_pool/", "tests/e2e/validator/")
"""The folders whose tests one worker runs."""


class SharedPoolScheduling(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A file at a time, or a folder whose files share what is slow to begin."""

    folders: Sequence[str] = WHOLE

    def _split_scope(self, nodeid: str) -> str:
        for folder in self.folders:
            if nodeid.startswith(folder):
                return folder
        return str(super()._split_scope(nodeid))


def scheduler(config: pytest.Config, log: Producer) -> SharedPoolScheduling | None:
    """The scheduler of a run by files; None leaves any other run to xdist."""
    if config.getoption("dist", "no") != "loadfile":
        return None
    return SharedPoolScheduling(config, log)
