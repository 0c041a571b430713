"""Every key of a specification changes something: a container, or what the pool decides of it.

A key that changes nothing is refused (`RESERVED`). Where an engine's request shows the change, the
test compares two requests; elsewhere it finds who reads the field.
"""

import ast
from pathlib import Path
from typing import Any

import attrs
import pytest

import p2pool
from p2pool.codec.spec.reserved_keys import RESERVED
from p2pool.codec.spec.spec import _keys_since, parse_spec, spec_json
from p2pool.drivers.containers.docker.container.plan import Prepared, container_config
from p2pool.drivers.containers.docker.engine.capabilities import support_of
from p2pool.model.features import newest
from p2pool.model.tasks.spec import TaskSpec
from tests.containers.harness.plans import SCOPE, plan

PACKAGE = Path(p2pool.__file__).resolve().parent
JUDGES = [PACKAGE / "codec" / "spec", PACKAGE / "model", PACKAGE / "cli"]
"""Who reads, checks and writes specifications, and does nothing by them."""
KEYS = {path for path, _ in _keys_since(TaskSpec, "")} - {"resources", "resources.gpu", "restart"}

ENGINE = support_of(
    {"ApiVersion": "1.47", "Version": "27.3.1"},
    {"Driver": "btrfs", "DriverStatus": [], "OSType": "linux", "Architecture": "x86_64"},
)
SMALL: dict[str, Any] = {"name": "a", "image": "busybox"}
MOUNT: dict[str, Any] = {"kind": "task", "source": "data", "target": "/data"}
TMPFS: dict[str, Any] = {"kind": "tmpfs", "target": "/t"}
PORT: dict[str, Any] = {"container": 80}

CONTAINER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "command": ({}, {"command": ["x"]}),
    "entrypoint": ({}, {"entrypoint": ["x"]}),
    "env": ({}, {"env": {"A": "1"}}),
    "labels": ({}, {"labels": {"a": "1"}}),
    "init": ({}, {"init": False}),
    "read_only": ({}, {"read_only": True}),
    "resources.cpu_milli": ({}, {"resources": {"cpu_milli": 2000}}),
    "resources.memory_bytes": ({}, {"resources": {"memory_bytes": 2**30}}),
    "resources.shm_bytes": ({}, {"resources": {"shm_bytes": 2**20}}),
    "resources.disk_bytes": ({}, {"resources": {"disk_bytes": 2**30}}),
    "resources.swap_bytes": ({}, {"resources": {"swap_bytes": 2**30}}),
    "resources.pids": ({}, {"resources": {"pids": 7}}),
    "mounts": ({}, {"mounts": [MOUNT]}),
    "mounts.kind": ({"mounts": [MOUNT]}, {"mounts": [{"kind": "tmpfs", "target": "/data"}]}),
    "mounts.target": ({"mounts": [MOUNT]}, {"mounts": [{**MOUNT, "target": "/other"}]}),
    "mounts.source": ({"mounts": [MOUNT]}, {"mounts": [{**MOUNT, "source": "other"}]}),
    "mounts.read_only": ({"mounts": [MOUNT]}, {"mounts": [{**MOUNT, "read_only": True}]}),
    "mounts.size_bytes": ({"mounts": [TMPFS]}, {"mounts": [{**TMPFS, "size_bytes": 2**20}]}),
    "ports": ({}, {"ports": [PORT]}),
    "ports.container": ({"ports": [PORT]}, {"ports": [{"container": 81}]}),
    "ports.host": ({"ports": [PORT]}, {"ports": [{**PORT, "host": 8080}]}),
    "ports.protocol": ({"ports": [PORT]}, {"ports": [{**PORT, "protocol": "udp"}]}),
}
"""Two specifications that differ by the key alone."""

DECIDED = {
    "name": ("spec",),
    "image": ("spec",),
    "replicas": ("spec",),
    "system": ("spec",),
    "gang": ("spec",),
    "requirements": ("spec",),
    "work": ("spec",),
    "work.file": ("work",),
    "work.metric": ("work",),
    "work.key": ("work",),
    "work.units": ("work",),
    "constraints": ("spec",),
    "constraints.attribute": ("rule", "constraint", "one"),
    "constraints.value": ("rule", "constraint", "one"),
    "constraints.equals": ("rule", "constraint", "one"),
    "resources.gpu.count": ("gpu", "gpus", "request"),
    "resources.gpu.model": ("gpu", "gpus", "request"),
    "resources.gpu.memory_min_bytes": ("gpu", "wanted"),
    "mounts.keep_s": ("mount",),
    "restart.mode": ("restart", "policy"),
    "restart.attempts": ("restart", "policy"),
    "restart.backoff_ms": ("restart", "policy"),
    "restart.on_unhealthy": ("restart", "policy"),
    "deadline_s": ("spec",),
    "stop_grace_s": ("spec",),
    "reconnect_window_s": ("spec",),
    "on_disconnect": ("spec",),
    "priority": ("spec",),
    "pull": ("spec",),
    "secrets": ("spec",),
    "secrets.uses": ("secrets",),
    "secrets.uses.name": ("use", "secret", "one"),
    "secrets.uses.file": ("use", "secret", "one"),
    "secrets.uses.variable": ("use", "secret", "one"),
    "secrets.digest": ("secrets",),
    "secrets.size_bytes": ("secrets",),
    "secrets.recipients": ("secrets",),
    "secrets.recipients.nodes": ("self", "recipients"),
    "secrets.recipients.providers": ("self", "recipients"),
    "secrets.registry_auth": ("secrets",),
}
"""The key, and the names by which code holds what it is a field of."""


def _reads() -> set[tuple[str, str]]:
    """(holder's name, field) of every attribute that some module outside JUDGES reads."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if any(judge in path.parents for judge in JUDGES):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                holder = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                found.add((holder, node.attr))
    return found


READS = _reads()


def request(more: dict[str, Any]) -> dict[str, Any]:
    """What an engine with quotas is asked for such a task."""
    spec = parse_spec(spec_json({**SMALL, **more}), newest())
    wanted = attrs.evolve(plan("true"), spec=spec)
    sources = {mount: Path("/agent") / mount.source for mount in spec.mounts}
    body: dict[str, Any] = container_config(
        SCOPE, wanted, Prepared("i@sha256:ab", "sha256:ab", sources), ENGINE
    )["body"]
    return body


def test_every_key_is_in_one_of_the_tables() -> None:
    """A new key has to say what it changes."""
    assert {*CONTAINER, *DECIDED, *RESERVED} == KEYS


@pytest.mark.parametrize("key", CONTAINER)
def test_a_containers_key_changes_the_container(key: str) -> None:
    """The engine is asked for something else."""
    before, after = CONTAINER[key]
    assert request(before) != request(after)


@pytest.mark.parametrize("key", DECIDED)
def test_a_key_that_is_decided_by_is_read(key: str) -> None:
    """Outside of what only checks and writes it."""
    field = key.rpartition(".")[2]
    assert any((holder, field) in READS for holder in DECIDED[key])


@pytest.mark.parametrize("key", RESERVED)
def test_a_reserved_key_is_read_by_nobody(key: str) -> None:
    """Once something reads it, it is reserved no more."""
    assert ("spec", key) not in READS
