"""An image with a program that writes to the metrics socket, made of the test's busybox."""

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE

SAY_IMAGE = "p2pool-test/say:1"


def make_say_image(client: Any) -> str:
    """Compile the program, put it beside busybox, and give the image's name."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a program for a container")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "say"
        source = Path(__file__).with_name("say.c")
        command = [compiler, "-static", "-Wall", "-Werror", "-o", str(made), str(source)]
        subprocess.run(command, check=True)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(made, "bin/say")
    container = client.create_container(BUSYBOX_IMAGE, ["true"])
    client.put_archive(container, "/", archive.getvalue())
    name, _, tag = SAY_IMAGE.partition(":")
    client.commit(container, repository=name, tag=tag)
    client.remove_container(container)
    return SAY_IMAGE
