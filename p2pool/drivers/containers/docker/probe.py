"""A probe inside a container: does the engine start one here, and which GPUs does it see?

Intuition: a driver on the host and a toolkit in the package list prove little; what counts is what
a container gets. So the probe starts one as tasks' containers are started, asks it for its GPUs,
and removes it.

Invariants: it leaves nothing behind, whatever happens; it outlives its deadline only by the time
the engine needs to kill it; its name is unique, so two probes do not meet.
"""

import re
import secrets
from typing import Any

import attrs
import trio
from docker.errors import APIError
from docker.types import LogConfig

from p2pool.codec.text.clip import clipped
from p2pool.drivers.containers.docker.container.plan import visible_gpus
from p2pool.drivers.containers.docker.engine.errors import engine_errors, explanation
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import limits
from p2pool.model.errors import P2poolError

LABEL = "p2pool.probe"
LISTED = re.compile(r"UUID:\s*([A-Za-z0-9-]+)")


@attrs.frozen
class Probed:
    """The probe's outcome. `ran`: a container was started; `reason` says why not, or what failed.

    `gpus`: UUIDs of the GPUs seen inside, sorted; `exit_code` is the command's.
    """

    ran: bool
    reason: str | None = None
    gpus: tuple[str, ...] = ()
    exit_code: int | None = None


async def probe_container(
    runtime: DockerRuntime,
    image: str,
    gpus: tuple[str, ...],
    timeout_ms: int = limits.CHECK_PROBE_TIMEOUT_MS,
) -> Probed:
    """Run one container of an image, pulled if necessary, with exactly these GPUs."""
    try:
        with trio.fail_after(timeout_ms / 1000):
            await runtime.pull(image)
            return await _run(runtime, image, gpus)
    except P2poolError as error:
        return Probed(False, str(error))
    except trio.TooSlowError:
        return Probed(False, f"A container did not start and end within {timeout_ms // 1000} s.")


async def _run(runtime: DockerRuntime, image: str, gpus: tuple[str, ...]) -> Probed:
    name = f"p2pool-probe-{secrets.token_hex(6)}"
    request = await runtime.gpu_request(gpus) if gpus else None
    try:
        return await trio.to_thread.run_sync(
            _in_thread, runtime, name, image, request, abandon_on_cancel=True
        )
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(limits.KILL_DEADLINE_MS / 1000):
            await trio.to_thread.run_sync(_remove, runtime, name, abandon_on_cancel=True)


def _in_thread(
    runtime: DockerRuntime, name: str, image: str, request: dict[str, Any] | None
) -> Probed:
    command = ["nvidia-smi", "-L"] if request else ["true"]
    if request and "Capabilities" in request:  # The toolkit's request: it brings nvidia-smi in.
        request |= {"Capabilities": [["gpu", "utility"]]}
    with engine_errors():
        client = runtime.client()
        host = client.create_host_config(
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=256 * 2**20,
            pids_limit=64,
            network_mode="none",
            device_requests=[request] if request else None,
            runtime=runtime.oci_runtime,
            log_config=LogConfig(type="json-file"),
        )
        try:
            client.create_container(
                image,
                command,
                name=name,
                labels={LABEL: "1"},
                host_config=host,
                entrypoint=[],
                environment=visible_gpus(request),
            )
            client.start(name)
            code = int(client.wait(name)["StatusCode"])
            said = client.logs(name, stdout=True, stderr=True, tail=200)[
                : limits.CHECK_OUTPUT_MAX_BYTES
            ]
        except APIError as error:
            return Probed(False, explanation(error))
    text = said.decode(errors="replace")
    seen = tuple(sorted(dict.fromkeys(LISTED.findall(text))))
    told = clipped(text.strip(), limits.REFUSAL_TEXT_MAX_BYTES)
    reason = None if code == 0 else f"{' '.join(command)} ended with {code}: {told}"
    return Probed(True, reason, seen, code)


def _remove(runtime: DockerRuntime, name: str) -> None:
    try:
        with engine_errors():
            runtime.client().remove_container(name, v=True, force=True)
    except (APIError, P2poolError):
        return  # It never existed, or the engine is away and its restart finds it by its label.
