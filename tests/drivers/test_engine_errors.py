"""Whose fault an engine's refusal is: the sentences of engines 20.10 to 28, told with the cause."""

import pytest
import requests
from docker.errors import APIError

from p2pool.drivers.containers.docker.engine.errors import pull_error, start_error
from p2pool.model.errors import (
    BadSpec,
    CannotStart,
    DiskFull,
    HostPortTaken,
    ImageNotFound,
    NodeCannotStart,
    NodeExhausted,
    NoGpuSupport,
    P2poolError,
    RegistryDenied,
    RegistryUnavailable,
    RuntimeUnavailable,
    WrongPlatform,
)

RUNC = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
)


def refused(text: str, status: int) -> APIError:
    """An engine's answer."""
    answer = requests.Response()
    answer.status_code = status
    return APIError(text, response=answer, explanation=text)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, RUNC + 'exec: "x": executable file not found in $PATH: unknown', CannotStart),
        (400, RUNC + 'exec: "/x": stat /x: no such file or directory: unknown', CannotStart),
        (400, RUNC + 'exec: "/etc/passwd": permission denied: unknown', CannotStart),
        (500, 'OCI runtime create failed: container_linux.go:380: starting container process '
         'caused: exec: "x": executable file not found in $PATH: unknown', CannotStart),
        (500, RUNC + 'chdir to cwd ("/no") set in config.json failed: no such file', CannotStart),
        (400, "unable to find user nobody2: no matching entries in passwd file", CannotStart),
        (500, RUNC + "container init was OOM-killed (memory limit too low?)", CannotStart),
        (400, "Minimum memory limit allowed is 6MB", CannotStart),
        (400, "no command specified", CannotStart),
        (500, RUNC + "exec format error: unknown", WrongPlatform),
        (500, "driver failed programming external connectivity on endpoint p (4ba): Bind for "
         "0.0.0.0:8080 failed: port is already allocated", HostPortTaken),
        (500, "failed to set up container networking: driver failed programming external "
         "connectivity on endpoint p (4ba): failed to bind host port for 0.0.0.0:80: "
         "address already in use", HostPortTaken),
        (500, "could not find an available, non-overlapping IPv4 address pool among the defaults "
         "to assign to the network", NodeExhausted),
        (403, "all predefined address pools have been fully subnetted", NodeExhausted),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', NoGpuSupport),
        (500, RUNC + "nvidia-container-cli: initialization error: nvml error", NoGpuSupport),
        (500, "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0",
         NoGpuSupport),
        (400, "unknown or invalid runtime name: nvidia", NoGpuSupport),
        (400, "unknown or invalid runtime name: crun", NodeCannotStart),
        (400, 'invalid mount config for type "bind": bind source path does not exist: /d',
         NodeCannotStart),
        (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
         NodeCannotStart),
        (500, "OCI runtime create failed: unable to apply cgroup configuration: x",
         NodeCannotStart),
        (400, "a refusal that nobody foresaw", NodeCannotStart),
        (500, "write /var/lib/docker/x: no space left on device", DiskFull),
        (404, "No such image: app:1", RuntimeUnavailable),
        (500, "a failure that nobody foresaw", RuntimeUnavailable),
        (500, "fork/exec /usr/bin/runc: resource temporarily unavailable", RuntimeUnavailable),
    ],
)  # fmt: skip
def test_a_start(status: int, text: str, kind: type[P2poolError]) -> None:
    """The task's fault, this node's, or the world's."""
    assert type(start_error(refused(text, status))) is kind


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "invalid reference format: repository name (Foo/bar) must be lowercase", BadSpec),
        (400, "invalid reference format", BadSpec),
        (404, "manifest for a:1 not found: manifest unknown", ImageNotFound),
        (404, "pull access denied for x, repository does not exist", RegistryDenied),
        (500, "error getting credentials - err: exec: \"docker-credential-x\": executable file "
         "not found in $PATH", RegistryDenied),
        (500, "Get https://r/v2/: x509: certificate signed by unknown authority", RegistryDenied),
        (500, "http: server gave HTTP response to HTTPS client", RegistryDenied),
        (None, "no matching manifest for linux/arm64/v8 in the manifest list", WrongPlatform),
        (None, "failed to register layer: lchown /x: invalid argument", NodeCannotStart),
        (400, "a refusal that nobody foresaw", NodeCannotStart),
        (429, "toomanyrequests: You have reached your pull rate limit", RegistryUnavailable),
        (500, "dial tcp: lookup r.example on 1.1.1.1:53: no such host", RegistryUnavailable),
        (500, "a failure that nobody foresaw", RegistryUnavailable),
        (None, "write /var/lib/docker/tmp/x: no space left on device", DiskFull),
    ],
)  # fmt: skip
def test_a_pull(status: int | None, text: str, kind: type[P2poolError]) -> None:
    """What will never change is not tried for ever."""
    assert type(pull_error("a:1", text, status)) is kind


def test_the_cause_comes_first() -> None:
    """Where few bytes are left, they are those that say what to mend."""
    text = RUNC + 'exec: "nosuchprogram": executable file not found in $PATH: unknown'
    said = start_error(refused(text, 400)).message
    assert said.startswith('The container cannot be started: exec: "nosuchprogram": executable')
    port = "failed to set up container networking: driver failed programming external connectivity "
    port += "on endpoint p (4ba): Bind for 0.0.0.0:8080 failed: port is already allocated"
    assert "this node: Bind for 0.0.0.0:8080" in start_error(refused(port, 500)).message
