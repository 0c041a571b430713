"""A real registry on the loopback of an engine's network, and images in it made of busybox."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine

START_DEADLINE_S = 60
USER, PASSWORD = "miner", "secret-of-registry"
# `htpasswd -Bbn miner secret-of-registry`
HTPASSWD = f"{USER}:$2b$04$t6UF/1lKfKttaCfeXR8ir.170nECKTTNHlCNV8s8EKiAauPsQTOJC\n"
LISTS = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@attrs.define
class Registry:
    """A registry at `host`, for one engine."""

    engine: Engine
    host: str
    directory: Path
    process: "subprocess.Popen[bytes]"
    needs_login: bool

    @property
    def login(self) -> dict[str, str] | None:
        """What a push needs."""
        return {"username": USER, "password": PASSWORD} if self.needs_login else None

    def push(self, name: str, mib: int = 0, layers: int = 1) -> str:
        """An image of busybox, with so many layers of noise of so many MiB each; its digest. It is
        only in the registry then."""
        client = docker.APIClient(base_url=self.engine.url, version="auto")
        reference = f"{self.host}/{name}"
        try:
            image = _with_noise(client, mib, layers) if mib else BUSYBOX_IMAGE
            repository, _, tag = name.partition(":")
            client.tag(image, f"{self.host}/{repository}", tag)
            digest = ""
            for line in client.push(
                reference, stream=True, decode=True, auth_config=self.login or {"username": ""}
            ):
                assert "error" not in line, line
                digest = (line.get("aux") or {}).get("Digest", digest)
            client.remove_image(reference)
        finally:
            client.close()
        return digest

    def put_list(self, name: str, tag: str, architecture: str) -> None:
        """A list of manifests that has `name:tag` for another processor only, as `name:other`."""
        manifest = self._get(name, tag)
        entry = {
            "mediaType": MANIFEST,
            "size": len(manifest[0]),
            "digest": manifest[1],
            "platform": {"architecture": architecture, "os": "linux"},
        }
        body = {"schemaVersion": 2, "mediaType": LISTS, "manifests": [entry]}
        url = f"http://{self.host}/v2/{name}/manifests/other"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
        request.add_header("Content-Type", LISTS)
        with self.engine.namespaces.entered(), urllib.request.urlopen(request, timeout=10) as done:
            assert done.status == 201

    def _get(self, name: str, tag: str) -> tuple[bytes, str]:
        request = urllib.request.Request(f"http://{self.host}/v2/{name}/manifests/{tag}")
        request.add_header("Accept", MANIFEST)
        with (
            self.engine.namespaces.entered(),
            urllib.request.urlopen(request, timeout=10) as answer,
        ):
            return answer.read(), answer.headers["Docker-Content-Digest"]

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _with_noise(client: Any, mib: int, layers: int) -> str:
    """Busybox with layers that do not compress."""
    image = BUSYBOX_IMAGE
    for number in range(layers):
        script = f"dd if=/dev/urandom of=/noise{number} bs=1M count={mib}"
        made = client.create_container(image, ["sh", "-c", script])
        client.start(made)
        assert client.wait(made)["StatusCode"] == 0
        image = str(client.commit(made)["Id"])
        client.remove_container(made)
    return image


@contextmanager
def running_registry(
    directory: Path, engine: Engine, *, login: bool = False, files: Path | None = None
) -> Iterator[Registry]:
    """A registry inside an engine's network, for the length of a block; with `files`, over what
    another one has stored in that directory. The test is skipped where there is no registry."""
    if shutil.which("docker-registry") is None:
        assert os.environ.get("CI") != "true", "a clean machine has docker-registry"
        pytest.skip("no docker-registry: apt-get install docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    stored = (files or directory) / "data"
    with engine.namespaces.entered(), socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    auth = ""
    if login:
        (directory / "htpasswd").write_text(HTPASSWD)
        auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {directory}/htpasswd\n"
    (directory / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  delete: {{enabled: true}}\n"
        f"  filesystem: {{rootdirectory: {stored}}}\nhttp: {{addr: {host}}}\n{auth}"
    )
    with (directory / "log").open("wb") as log, engine.namespaces.entered():
        process = subprocess.Popen(
            ["docker-registry", "serve", f"{directory}/config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    registry = Registry(engine, host, directory, process, login)
    try:
        _wait_listening(registry)
        yield registry
    finally:
        registry.stop()


def _wait_listening(registry: Registry) -> None:
    host, _, port = registry.host.partition(":")
    end = time.monotonic() + START_DEADLINE_S
    while True:
        with suppress(OSError), registry.engine.namespaces.entered():
            socket.create_connection((host, int(port)), 1).close()
            return
        log = (registry.directory / "log").read_text()[-500:]
        assert time.monotonic() < end, log
        assert registry.process.poll() is None, log
        time.sleep(0.1)


def write_login(directory: Path, host: str, *, password: str = PASSWORD) -> Path:
    """A Docker configuration directory with a login, as `docker login` leaves it."""
    import base64

    directory.mkdir(parents=True, exist_ok=True)
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": token}}}))
    return directory


def write_helper(directory: Path, host: str, script: str) -> Path:
    """A Docker configuration directory that names a credential helper, in a folder for PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    helper = directory / "docker-credential-testing"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    (directory / "config.json").write_text(json.dumps({"credHelpers": {host: "testing"}}))
    return directory
