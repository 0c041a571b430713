"""An agent that is not root: this process acts as a plain user who may talk to the engine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.images import helper_image

USER = 65_534
"""Debian's `nobody`: it owns nothing on the machine."""


@contextmanager
def plain_user(engine: Engine) -> Iterator[Path]:
    """For the length of a block, every thread of this process is that user, whose group may use
    the engine. Gives a directory of that user's, which pytest lets nobody else enter. That user
    has an installation that it may read, which this checkout may not be."""
    directory = Path(tempfile.mkdtemp(prefix="p2u", dir="/tmp"))
    installed = Path(tempfile.mkdtemp(prefix="p2i", dir="/tmp"))
    installed.chmod(0o755)
    images = shutil.copytree(helper_image.IMAGES, installed / "images")
    os.chown(directory, USER, USER)
    socket = Path(engine.url.removeprefix("unix://"))
    engine.directory.chmod(0o711)
    group, groups = socket.stat().st_gid, os.getgroups()
    os.chown(socket, -1, USER)
    os.setgroups([])
    os.setegid(USER)
    os.seteuid(USER)
    try:
        with mock.patch.object(helper_image, "IMAGES", images):
            yield directory
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.chown(socket, -1, group)
        for made in (directory, installed):
            shutil.rmtree(made, ignore_errors=True)
