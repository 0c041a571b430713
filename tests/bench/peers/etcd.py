"""etcd of the distribution, as many members as asked for, on loopback, in a directory."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from p2pool.dev.chain.anvil import free_port
from tests.bench.load import Write, http_post

READY_S = 30.0
VALUE = base64.b64encode(b"v" * 256).decode()


@attrs.define
class Member:
    """One member and its process."""

    name: str
    client_url: str
    arguments: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start (again)."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.arguments, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def call(self, path: str, **body: object) -> dict[str, Any]:
        """One request of the JSON gateway."""
        request = urllib.request.Request(
            self.client_url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=2) as answer:
            return dict(json.load(answer))

    def write(self, number: int) -> Write:
        """A put, through the gateway that is part of etcd."""
        key = base64.b64encode(b"key-%d" % number).decode()
        body = json.dumps({"key": key, "value": VALUE}).encode()
        return http_post(self.client_url, "/v3/kv/put", body)


@attrs.define
class Etcd:
    """A cluster."""

    members: list[Member]

    def leader(self) -> Member:
        """Whoever leads, once all members answer and agree."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, KeyError):
                status = [m.call("/v3/maintenance/status") for m in self.members]
                leads = {s["leader"] for s in status}
                ids = [s["header"]["member_id"] for s in status]
                if len(leads) == 1 and (leader := leads.pop()) in ids:
                    return self.members[ids.index(leader)]
            time.sleep(0.1)
        raise TimeoutError("etcd has no leader that all members follow")


@contextlib.contextmanager
def running(directory: Path, size: int, options: Sequence[str]) -> Iterator[Etcd]:
    """A cluster that is ready; its processes end with the block."""
    directory.mkdir(parents=True)
    peers = [f"http://127.0.0.1:{free_port()}" for _ in range(size)]
    names = [f"m{number}" for number in range(size)]
    cluster = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
    made = []
    for name, peer in zip(names, peers, strict=True):
        client = f"http://127.0.0.1:{free_port()}"
        arguments = [
            "etcd",
            "--name",
            name,
            "--data-dir",
            str(directory / name),
            "--listen-client-urls",
            client,
            "--advertise-client-urls",
            client,
            "--listen-peer-urls",
            peer,
            "--initial-advertise-peer-urls",
            peer,
            "--initial-cluster",
            cluster,
            "--logger",
            "zap",
            "--log-level",
            "error",
            *options,
        ]
        made.append(Member(name, client, arguments, directory / f"{name}.log"))
    etcd = Etcd(made)
    try:
        for member in etcd.members:
            member.start()
        etcd.leader()
        yield etcd
    finally:
        for member in etcd.members:
            member.kill()
