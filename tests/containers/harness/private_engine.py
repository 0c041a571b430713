"""A private Docker Engine with busybox in it, for tests of several folders.

Where no engine can be started the tests that want one are skipped; in CI that is a failure.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from p2pool.dev.engine.engine import Engine, import_busybox, start_engine
from p2pool.model.errors import Misconfigured, RuntimeUnavailable

HOOK = "nvidia-container-runtime-hook"
"""An engine with an executable of this name on its PATH offers GPUs."""


@contextmanager
def private_engine(
    directory: Path, tools: Path | None = None, arguments: tuple[str, ...] = ()
) -> Iterator[Engine]:
    """The engine for the length of a block. `tools`: a directory that comes first on its PATH."""
    try:
        engine = start_engine(directory, str(tools or ""), arguments=arguments)
    except (Misconfigured, RuntimeUnavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no private Docker Engine: {error}")
    try:
        client = docker.APIClient(base_url=engine.url, version="auto")
        import_busybox(client, directory)
        client.close()
        yield engine
    finally:
        engine.stop()


def make_hook(tools: Path, script: str = "cat > /dev/null") -> None:
    """A stand-in for NVIDIA's hook, which does what `script` says."""
    tools.mkdir(exist_ok=True)
    hook = tools / HOOK
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
