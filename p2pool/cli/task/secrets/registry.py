"""Credentials for the registry of a task's image, as a flag names them.

    --registry-auth ghcr.io=robot:env:TOKEN       a user, and where the password comes from
    --registry-auth docker-config                 this user's login, as `docker login` left it
    --registry-auth docker-config:DIR             the same, of another configuration

Intuition: they ride with the task's secrets, encrypted, and fetch this task's image alone. The
registry is said once more than needed, so that a password for one never goes to another because of
a typing error in an image's name.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from p2pool.drivers.containers.docker.images.reference import HUB, HUB_ALIASES, reference_of
from p2pool.model.tasks.secrets import RegistryAuth

FORM = "REGISTRY=USER:file:PATH|env:VARIABLE|-"
DOCKER = "docker-config"

OPTIONS = (
    click.option(
        "--registry-auth",
        metavar=f"{FORM}|{DOCKER}[:DIR]",
        help="Credentials for the image's registry, used for this task alone; docker-config: those"
        " of `docker login` here.",
    ),
)


def login_of(text: Any, image: str, read: Callable[[str, str], bytes]) -> RegistryAuth:
    """The credentials that a flag names for an image. `UsageError`: they are for another registry,
    or are not there."""
    registry = reference_of(image).registry
    if not isinstance(text, str):
        raise click.UsageError(f"registry_auth is no text: {FORM}.")
    head, colon, rest = text.partition(":")
    if head == DOCKER:
        return _docker_login(image, registry, Path(rest).expanduser() if colon else None)
    named, equals, login = text.partition("=")
    user, colon, source = login.partition(":")
    kind = source.partition(":")[0]
    if not equals or not user or not colon or (kind not in ("file", "env") and source != "-"):
        raise click.UsageError(
            f"--registry-auth takes {FORM}, or {DOCKER}. A password on a command line is seen by"
            " every user of this machine, and stays in the shell's history."
        )
    if _plain(named) != registry.lower():
        raise click.UsageError(
            f"--registry-auth is for {named[:128]}, and the image {image} comes from {registry}."
        )
    password = read(source, f"registry-auth {registry}")
    # Whoever writes a password into a file ends the line; no password ends so.
    text_of = _text(password.removesuffix(b"\n").removesuffix(b"\r"))
    if not text_of:
        raise click.UsageError("--registry-auth: the password is empty, or not text in UTF-8.")
    return RegistryAuth(user, text_of)


def _plain(registry: str) -> str:
    name = registry.lower().removeprefix("https://").removesuffix("/")
    return HUB if name in HUB_ALIASES or name == "index.docker.io/v1" else name


def _text(password: bytes) -> str:
    try:
        return password.decode()
    except UnicodeDecodeError:
        return ""


def _docker_login(image: str, registry: str, directory: Path | None) -> RegistryAuth:
    """The login that docker has for a registry. `RegistryDenied`: its file cannot be read."""
    from p2pool.drivers.containers.docker.images.credentials import login_in

    if directory is not None and directory.is_file():
        directory = directory.parent
    place = directory or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    found = {key.lower(): value for key, value in (login_in(image, place) or {}).items()}
    user, password = found.get("username"), found.get("password")
    if found.get("identitytoken"):
        raise click.UsageError(
            f"--registry-auth: {place} has a token for {registry} that ends soon, and no password:"
            f" make one at the registry, and give {registry}=USER:env:VARIABLE."
        )
    if not user or not password:
        raise click.UsageError(
            f"--registry-auth: {place} has no login for {registry}: docker login {registry}."
        )
    return RegistryAuth(str(user), str(password))
