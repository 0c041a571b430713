"""An agent that is not root: this process acts as a plain user who may talk to the engine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pool.dev.engine.engine import Engine

USER = 65_534
"""Debian's `nobody`: it owns nothing on the machine."""


@contextmanager
def plain_user(engine: Engine) -> Iterator[Path]:
    """For the length of a block, every thread of this process is that user, whose group may use
    the engine. Gives a directory of that user's, which pytest lets nobody else enter."""
    directory = Path(tempfile.mkdtemp(prefix="p2u", dir="/tmp"))
    os.chown(directory, USER, USER)
    socket = Path(engine.url.removeprefix("unix://"))
    engine.directory.chmod(0o711)
    group, groups = socket.stat().st_gid, os.getgroups()
    os.chown(socket, -1, USER)
    os.setgroups([])
    os.setegid(USER)
    os.seteuid(USER)
    try:
        yield directory
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.chown(socket, -1, group)
        shutil.rmtree(directory, ignore_errors=True)
