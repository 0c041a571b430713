"""What a copy finds below `/run/secrets`, as one archive that its sandbox unpacks. Pure.

    NAME          a secret, for the copy's user alone
    .variables    NAME=VALUE, each with a zero byte behind it: what `.init` adds to the environment
    .init         `helper/init.c`, where there are variables: it becomes the copy's command

Invariant: no name of a secret begins with a dot, so none stands in the way of these.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from p2pool.codec.spec.secrets import DIRECTORY
from p2pool.drivers.containers.docker.images.helper_image import IMAGES
from p2pool.model.errors import CannotStart, Misconfigured
from p2pool.model.tasks.secrets import SecretValue

INIT = ".init"
INIT_PATH = f"{DIRECTORY}/{INIT}"
VARIABLES = ".variables"
FOR_USER, FOR_ALL = 0o400, 0o555


class Owner(NamedTuple):
    """Whose files they are, as the copy numbers users."""

    uid: int
    gid: int


def has_variables(secrets: Sequence[SecretValue]) -> bool:
    """Whether a copy with these needs `.init`."""
    return any(one.variable is not None for one in secrets)


def archive_of(secrets: Sequence[SecretValue], owner: Owner, platform: str) -> bytes:
    """The archive for an engine's platform, `linux/amd64`. CannotStart: a variable that no process
    can have. Misconfigured: variables, and no program for this processor."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for one in secrets:
            if one.file:
                _add(tar, one.name, one.value, FOR_USER, owner)
        if has_variables(secrets):
            _add(tar, VARIABLES, variables_of(secrets), FOR_USER, owner)
            _add(tar, INIT, init_program(platform), FOR_ALL, Owner(0, 0))
    return out.getvalue()


def variables_of(secrets: Sequence[SecretValue]) -> bytes:
    """The variables in the form of an environment. CannotStart: a value has a zero byte."""
    pairs = [(one.variable, one.value) for one in secrets if one.variable is not None]
    for name, value in pairs:
        if b"\0" in value:
            raise CannotStart(f"The secret variable {name} has a zero byte: make it a file.")
    return b"".join(name.encode() + b"=" + value + b"\0" for name, value in pairs)


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int, owner: Owner) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, (info.uid, info.gid) = len(data), mode, owner
    tar.addfile(info, io.BytesIO(data))


def init_program(platform: str) -> bytes:
    """The first program of a copy with variables. Misconfigured: there is none for this engine."""
    system, _, architecture = platform.partition("/")
    file: Path = IMAGES / f"init-{architecture}"
    try:
        if system == "linux" and architecture.isalnum():
            return file.read_bytes()
    except OSError:
        pass  # There are two; whoever is asked for another says so below.
    raise Misconfigured(
        f"p2pool has no program that gives secret variables to a copy on {platform}.",
        hint="Take the secrets as files: leave out variables.",
    )
