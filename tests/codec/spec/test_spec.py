"""Specifications are read in one form only, and all that is wrong with one is told at once."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.spec.spec import check_devices, check_sizes, parse_spec, spec_hash, spec_json
from p2pool.model import limits
from p2pool.model.errors import BadSpec
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.tasks.secrets import RecipientPolicy, SecretUse
from p2pool.model.tasks.spec import (
    Mount,
    MountKind,
    PublishedPort,
    RestartMode,
    TaskSpec,
    WorkRequest,
)

FULL: dict[str, Any] = {
    "name": "train",
    "image": "registry.example:5000/ml/pytorch:2.4",
    "command": ["python", "train.py", "--lr", "0.1"],
    "entrypoint": ["/bin/sh"],
    "env": {"LR": "0.1", "A": ""},
    "resources": {
        "cpu_milli": 4000,
        "memory_bytes": 2**33,
        "shm_bytes": 2**30,
        "disk_bytes": 2**36,
        "swap_bytes": 2**30,
        "pids": 100,
        "gpu": {"count": 2, "model": "h100", "memory_min_bytes": 2**36},
    },
    "replicas": 3,
    "gang": True,
    "constraints": [{"attribute": "gpu.model", "value": "h100", "equals": True}],
    "mounts": [{"kind": "task", "target": "/data", "source": "data", "keep_s": 60}],
    "ports": [{"container": 80, "host": 8080, "protocol": "udp"}],
    "restart": {"mode": "on-failure", "attempts": 5, "backoff_ms": 2000, "on_unhealthy": True},
    "deadline_s": 3600,
    "stop_grace_s": 30,
    "reconnect_window_s": -1,
    "on_disconnect": "stop",
    "priority": 70,
    "labels": {"team": "a"},
    "pull": "always",
    "read_only": True,
    "init": False,
    "requirements": "gpu:count=2;gpu:model=H100;ram_mb=64000",
    "work": {"file": "/data/work.json", "units": 12},
    "secrets": {
        "digest": "ab" * 32,
        "size_bytes": 700,
        "uses": [{"name": "db"}, {"name": "API", "file": False, "variable": "API_KEY"}],
        "recipients": {"nodes": ["cd" * 20], "providers": ["ef" * 20]},
        "registry_auth": True,
    },
}
SMALL: dict[str, Any] = {"name": "a", "image": "busybox"}


def problems(value: Any) -> str:
    """What is found wrong with a specification, in lines."""
    with pytest.raises(BadSpec) as caught:
        spec_json(value)
    assert caught.value.problems
    return "\n".join(caught.value.problems)


def test_full_specification_comes_back() -> None:
    """Every key is read into its field and written again."""
    spec = parse_spec(spec_json(FULL), DISTRUST_LEVEL)
    assert (spec.name, spec.replicas, spec.gang) == ("train", 3, True)
    assert spec.environment == (("A", ""), ("LR", "0.1"))
    assert spec.mounts == (Mount(MountKind.TASK, "/data", "data", keep_s=60),)
    assert spec.ports == (PublishedPort(80, 8080, "udp"),)
    assert spec.secrets.uses == (SecretUse("db"), SecretUse("API", False, "API_KEY"))
    assert spec.secrets.recipients == RecipientPolicy(("cd" * 20,), ("ef" * 20,))
    assert spec.work == WorkRequest("/data/work.json", units=12)
    assert spec.restart.mode is RestartMode.ON_FAILURE
    assert parse_spec(spec_json(spec), DISTRUST_LEVEL) == spec
    untouched = [f.name for f in attrs.fields(TaskSpec) if getattr(spec, f.name) == f.default]
    # The first excludes gang; the other does nothing yet and is refused (`test_reserved_keys`).
    assert untouched == ["system", "run_until_s"], "this test names every other key"


def test_defaults_are_left_out() -> None:
    """Spelling a default out gives the same text, hence the same hash."""
    text = spec_json(SMALL)
    assert text == '{"image":"busybox","name":"a"}'
    assert spec_json({**SMALL, "replicas": 1, "env": {}, "restart": {"mode": "never"}}) == text
    assert parse_spec(text, BASE_LEVEL) == TaskSpec(name="a", image="busybox")
    assert len(spec_hash(text)) == 32


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"a","image":"busybox"}',
        '{"image": "busybox","name":"a"}',
        '{"image":"busybox","name":"a","name":"a"}',
        '{"image":"busybox","name":"\\u0061"}',
        '{"image":"busybox","name":"a","replicas":1.0}',
        '{"image":"busybox","name":"a","replicas":1e0}',
        '{"image":"busybox","name":"a"}\n',
        '{"image":"busybox","name":"a","priority":NaN}',
        '{"image":"busybox","name":"a","priority":1e999}',
        "1" * 5000,
        "[" * 50_000,
        '"\\ud800"',
        "\ud800",
        "",
        "null",
        '{"a":"' + "x" * limits.SPEC_JSON_MAX_BYTES + '"}',
    ],
)
def test_only_one_form_is_taken(text: str) -> None:
    """Text that a signer's wallet could show otherwise, or that is not JSON, is refused."""
    with pytest.raises(BadSpec):
        parse_spec(text, BASE_LEVEL)


@given(st.text() | st.recursive(st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_text_is_a_specification_or_refused(text: str) -> None:
    """Nothing but `BadSpec` gets out."""
    with pytest.raises(BadSpec):
        parse_spec(text, BASE_LEVEL)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
junk = st.recursive(
    leaves,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from([*FULL, "x"]), x),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FULL, "system", "x"]), junk))
def test_any_values_are_a_specification_or_refused(values: dict[str, Any]) -> None:
    """Whatever stands at a key, the answer is a text that parses, or `BadSpec`."""
    try:
        text = spec_json({**SMALL, **values})
    except BadSpec:
        return
    assert spec_json(parse_spec(text, BASE_LEVEL)) == text


def test_all_problems_at_once() -> None:
    """One round trip is enough to mend everything."""
    found = problems(
        {
            "name": "A B",
            "comand": [],
            "replicas": 10**30,
            "mounts": [{"kind": "bindd", "target": "../x"}],
            "resources": {"gpus": 1, "cpu_milli": 1.5, "memory_bytes": True},
            "env": {"P2POOL_NODE": "x", "A B": "x", "OK": 5},
        }
    )
    for wanted in (
        "name is not a name",
        "image is missing",
        "unknown key 'comand' (did you mean 'command'?)",
        "replicas is absurdly large",
        "mounts[0].kind is not one of task, pool, tmpfs, bind (did you mean 'bind'?)",
        "mounts[0].target is not an absolute path",
        "resources has an unknown key 'gpus' (did you mean 'gpu'?)",
        "resources.cpu_milli is not a whole number",
        "resources.memory_bytes is not a whole number",
        "env.P2POOL_NODE is reserved",
        "env.A B is not the name of a variable",
        "env.OK is not text",
    ):
        assert wanted in found


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/proc",
        "/proc/1",
        "/sys",
        "/dev/shm",
        "/a/../proc",
        "/a/..",
        "a",
        "",
        "/a/",
        "//a",
        "/a//b",
        "/./a",
        "/a\0b",
        "/a:ro",
        "/a\nb",
        "/run/p2pool/metrics",
    ],
)
def test_targets_that_escape(target: str) -> None:
    """No mount covers what it must not, by whatever spelling."""
    mounts = [{"kind": "tmpfs", "target": target}]
    assert "mounts[0].target" in problems({**SMALL, "mounts": mounts})


@pytest.mark.parametrize("source", ["../x", "/a/../b", "a/b", "..", "", "/host/path"])
def test_sources_that_escape(source: str) -> None:
    """A volume has a name, never a path."""
    mounts = [{"kind": "task", "target": "/data", "source": source}]
    assert "mounts[0].source" in problems({**SMALL, "mounts": mounts})


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"replicas": 0}, "replicas is 0"),
        ({"replicas": -1}, "replicas is -1"),
        ({"replicas": None}, "replicas is null"),
        ({"system": True, "replicas": 2}, "replicas cannot be set with system"),
        ({"system": True, "gang": True}, "gang cannot be set with system"),
        ({"resources": {"gpu": {"model": "h100"}}}, "gpu.count is 0"),
        ({"resources": {"gpu": {"count": 1, "model": "H" * 129}}}, "longer than 128"),
        ({"resources": {"gpu": {"count": 1, "memory_min_bytes": 80}}}, "sizes are in bytes"),
        ({"resources": {"disk_bytes": 10}}, "resources.disk_bytes is 10: sizes are in bytes"),
        ({"resources": {"swap_bytes": 81_920}}, "resources.swap_bytes is 81920"),
        ({"resources": {"shm_bytes": 512}}, "resources.shm_bytes is 512"),
        ({"mounts": [{"kind": "tmpfs", "target": "/t", "size_bytes": 64}]}, "mounts[0].size_bytes"),
        (
            {"mounts": [{"kind": "pool", "source": "a", "target": "/t", "size_bytes": 65_536}]},
            "mounts[0].size_bytes is 65536",
        ),
        ({"resources": {"memory_bytes": 1}}, "resources.memory_bytes is 1"),
        ({"ports": [{"container": 0}]}, "ports[0].container"),
        ({"ports": [{"container": 80}, {"container": 80}]}, "a container port twice"),
        ({"ports": [{}]}, "ports[0].container is missing"),
        ({"image": "busy box"}, "image is not an image"),
        ({"image": "BusyBox"}, "image is not an image"),
        ({"image": "-v"}, "image is not an image"),
        ({"command": "ls"}, "command is not a list"),
        ({"command": ["a\0b"]}, "command[0] has a null"),
        ({"labels": {"p2pool.node": "x"}}, "reserved"),
        ({"secrets": ["a", "a"]}, "secrets names something twice"),
        ({"env": {"A": "x" * (limits.SPEC_TEXT_MAX_BYTES + 1)}}, "env.A is longer"),
        ({"env": {str(n): "" for n in range(limits.ENVIRONMENT_MAX + 1)}}, "env has 129 keys"),
        ({"pull": "sometimes"}, "pull is not one of if-not-present, always, never"),
        ({"resources": {"pids": 0}}, "resources.pids is 0"),
        (
            {"mounts": [{"kind": "bind", "target": "/a", "source": "/b"}]},
            "mounts[0].read_only must be true",
        ),
        (
            {"mounts": [{"kind": "pool", "target": "/a", "source": "b", "keep_s": 5}]},
            "mounts[0].keep_s can only be set for task volumes",
        ),
        (
            {
                "mounts": [
                    {"kind": "pool", "target": "/a", "source": "b"},
                    {"kind": "tmpfs", "target": "/a/c"},
                ]
            },
            "mounts[1].target lies in another mount",
        ),
        ({"restart": {"mode": "always", "backoff_ms": 0}}, "restart.backoff_ms is 0"),
        ({"constraints": [{"attribute": "colour", "value": "x"}]}, "constraints[0].attribute"),
        ({"env": {"NVIDIA_VISIBLE_DEVICES": "all"}}, "env.NVIDIA_VISIBLE_DEVICES is set by"),
        ({"env": {"NVIDIA_MIG_MONITOR_DEVICES": ""}}, "resources.gpu"),
        ({"env": {"DOCKER_RESOURCE_GPU": "all"}}, "env.DOCKER_RESOURCE_GPU is set by"),
        (
            {"mounts": [{"kind": "tmpfs", "target": "/var/run/nvidia-container-devices/all"}]},
            "mounts[0].target names devices",
        ),
        ({"requirements": "gpus=8"}, "requirements cannot be read: 'gpus' is none of the keys"),
        ({"requirements": "ram_mb=lots"}, "ram_mb='lots' is not a number"),
        ({"requirements": "p2pool:root=a"}, "requirements cannot be read: 'p2pool:root'"),
        (
            {"requirements": "gpu:memory_mb_min=2;gpu:memory_mb_max=1"},
            "gpu:memory_mb_min=2 is above gpu:memory_mb_max=1",
        ),
        ({"requirements": " ; ;"}, "requirements asks for nothing"),
        ({"requirements": "ram_mb=1;" * 120}, "requirements is longer than 1024 characters"),
        ({"requirements": ["ram_mb=1"]}, "requirements is not"),
        ({f"k{n}": 0 for n in range(10_000)}, "unknown key"),
    ],
)
def test_values_that_cannot_be_meant(change: dict[str, Any], wanted: str) -> None:
    """Each is told by the path of its key."""
    assert wanted in problems({**SMALL, **change})


@pytest.mark.parametrize(
    "image",
    ["busybox", "p2pool-test/busybox:1", "localhost:5000/a/b@sha256:" + "0" * 64, "a.b/c_d:V1"],
)
def test_images_that_docker_takes(image: str) -> None:
    """References as people write them are taken."""
    assert parse_spec(spec_json({**SMALL, "image": image}), BASE_LEVEL).image == image


def test_a_variable_with_a_dot_is_refused_below_its_level() -> None:
    """Earlier versions took letters, digits and underscores alone: replicas must agree."""
    text = spec_json({"name": "t", "image": "i", "env": {"cluster.name": "x", "A-B": "y"}})
    assert parse_spec(text, DISTRUST_LEVEL).environment == (("A-B", "y"), ("cluster.name", "x"))
    with pytest.raises(BadSpec) as caught:
        parse_spec(text, BASE_LEVEL)
    assert len(caught.value.problems) == 2
    assert "env.cluster.name needs feature level 2" in str(caught.value)
    assert parse_spec(spec_json({"name": "t", "image": "i", "env": {"A_B": "y"}}), BASE_LEVEL)


def test_a_size_that_nobody_means_stays_readable() -> None:
    """What a pool holds from earlier has to be parsed; only new submissions are judged."""
    text = '{"image":"i","name":"t","resources":{"disk_bytes":10}}'
    for level in (BASE_LEVEL, DISTRUST_LEVEL):
        spec_of_old = parse_spec(text, level)
        with pytest.raises(BadSpec, match="sizes are in bytes"):
            check_sizes(spec_of_old)


def test_a_gpu_model_is_signed_in_lower_case() -> None:
    """However it is written; a text that is signed has one form."""
    given = {"name": "t", "image": "i", "resources": {"gpu": {"count": 1, "model": "H100"}}}
    assert '"model":"h100"' in spec_json(given)
    assert given["resources"] == {"gpu": {"count": 1, "model": "H100"}}
    with pytest.raises(BadSpec, match="lower case"):
        parse_spec(spec_json(given).replace("h100", "H100"), DISTRUST_LEVEL)


@pytest.mark.parametrize(
    ("image", "taken"),
    [("Foo/bar:1", False), ("foo/bar", True), ("Foo.example/bar", True), ("LOCAL:5000/x", True)],
)
def test_a_repository_with_capitals_is_refused_where_it_enters(image: str, taken: bool) -> None:
    """No engine pulls it, however long one waits; a log that holds one can still be read."""
    given = {"name": "t", "image": image}
    if taken:
        assert spec_json(given)
        return
    with pytest.raises(BadSpec, match="capitals"):
        spec_json(given)
    assert parse_spec(json.dumps(given, separators=(",", ":"), sort_keys=True), BASE_LEVEL)


def test_libraries_may_be_told_of_devices_and_pools_keep_what_they_took() -> None:
    """What only hides devices is taken; a task of an earlier version can still be applied."""
    named = {"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_TF32_OVERRIDE": "0", "NVIDIA_API_KEY": "x"}
    assert "CUDA_VISIBLE_DEVICES" in spec_json({**SMALL, "env": named})
    taken = '{"env":{"NVIDIA_VISIBLE_DEVICES":"all"},"image":"busybox","name":"a"}'
    spec = parse_spec(taken, BASE_LEVEL)
    with pytest.raises(BadSpec, match=r"resources\.gpu"):
        check_devices(spec)


def test_restarts_of_a_task_that_has_none_are_refused_where_it_comes_in() -> None:
    """Nothing is accepted and ignored; what a pool holds from earlier can still be read."""
    for vain in ({"attempts": 5}, {"mode": "never", "backoff_ms": 5000}):
        with pytest.raises(BadSpec, match=r"restart\.(attempts|backoff_ms) does nothing"):
            spec_json({**SMALL, "restart": vain})
    assert spec_json({**SMALL, "restart": {"mode": "always", "attempts": 5}})
    taken = '{"image":"busybox","name":"a","restart":{"attempts":5}}'
    assert parse_spec(taken, BASE_LEVEL).restart.attempts == 5
