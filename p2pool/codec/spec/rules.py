"""The rules for a specification's texts, and the contradictions between its parts.

A rule gives the rest of a sentence that begins with the key's path, or an empty string. They guard
the places where text turns into something else on a node: a path, an image reference, the name of a
variable. What a node refuses by its own policy (bind mounts, registries), the node decides.
"""

import re
from collections.abc import Iterator

from p2pool.codec.text.requirements import KEYS, refusals, task_requirements
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL, FeatureLevel
from p2pool.model.machine.requirements import Requirements
from p2pool.model.tasks.spec import Mount, MountKind, RestartMode, RestartPolicy, TaskSpec

ATTRIBUTES = ("node", "provider", "gpu.model", "cpu.model", "runtime", "architecture")
RESERVED_PREFIX = "P2POOL_"
FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev", "/run/p2pool")
DEVICE_TARGETS = ("/var/run/nvidia-container-devices", "/run/nvidia-container-devices")
"""NVIDIA's toolkit, if its owner lets it, gives the GPUs that mounts below these name."""

# What vendors' runtimes and hooks read from a container's environment to choose its devices. Those
# of libraries inside (CUDA_, HIP_ and ROCR_VISIBLE_DEVICES) only hide what the container was given.
_DEVICE_VARIABLE = re.compile(
    r"(?:NVIDIA|AMD|HABANA|ASCEND|MTHREADS)_VISIBLE_DEVICES|ASCEND_RUNTIME_OPTIONS"
    r"|NVIDIA_MIG_(?:CONFIG|MONITOR)_DEVICES|NVIDIA_IMEX_CHANNELS"
    r"|NVIDIA_(?:GDS|MOFED|NVSWITCH|GDRCOPY)|DOCKER_RESOURCE_.*"
)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_ENV_NAME = re.compile(r"[!-<>-~]{1,128}")
_FIRST_LEVEL_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LABEL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,125}[a-z0-9])?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?/)?"
_IMAGE = re.compile(
    rf"{_HOST}{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


def name_rule(text: str) -> str:
    """Names of tasks, volumes and secrets."""
    if _NAME.fullmatch(text):
        return ""
    return "is not a name: 1 to 63 of a-z, 0-9, '.', '_', '-', with a letter or digit at both ends"


def image_rule(text: str) -> str:
    """References of images, as Docker takes them. Bounded, because the pattern can backtrack."""
    if 0 < len(text) <= limits.IMAGE_NAME_MAX_BYTES and _IMAGE.fullmatch(text):
        return ""
    return "is not an image reference such as registry.example/name:tag or name@sha256:..."


def unpullable(image: str) -> str:
    """Why no engine pulls an image whose reference follows the rule; "" if one may. Asked where a
    task enters: what a log holds stays as it is."""
    first, slash, _ = image.partition("/")
    is_host = not slash or "." in first or ":" in first or first == "localhost"
    if is_host or first == first.lower():
        return ""
    return f"has capitals in its repository, {first!r}: registries take none"


def argument_rule(text: str) -> str:
    """Arguments and values: anything that the kernel can pass on."""
    return "has a null character" if "\0" in text else ""


def env_name_rule(text: str) -> str:
    """Names of environment variables: images use dots and dashes too, as in cluster.name."""
    if not _ENV_NAME.fullmatch(text):
        return "is not the name of a variable: 1 to 128 printable characters, no space, no '='"
    if text.startswith(RESERVED_PREFIX):
        return f"is reserved: {RESERVED_PREFIX}* is set by the agent"
    return ""


def chooses_devices(name: str) -> bool:
    """Whether a variable of this name tells a container's runtime which devices to hand out."""
    return _DEVICE_VARIABLE.fullmatch(name) is not None


def device_choices(spec: TaskSpec) -> Iterator[str]:
    """What in a specification would choose devices beside those that it is leased. Not part of
    `contradictions`: pools hold tasks that were taken before this was refused."""
    for name, _ in spec.environment:
        if chooses_devices(name):
            yield f"env.{name} is set by the agent: ask for GPUs with resources.gpu"
    for number, mount in enumerate(spec.mounts):
        if f"{mount.target}/".startswith(tuple(f"{place}/" for place in DEVICE_TARGETS)):
            yield f"mounts[{number}].target names devices: ask for GPUs with resources.gpu"


def vain_restarts(spec: TaskSpec) -> Iterator[str]:
    """What a task says of restarts that it has none of."""
    policy, usual = spec.restart, RestartPolicy()
    if policy.mode is RestartMode.NEVER:
        for name in ("attempts", "backoff_ms"):
            if getattr(policy, name) != getattr(usual, name):
                yield f"restart.{name} does nothing while restart.mode is never"


def label_name_rule(text: str) -> str:
    """Names of labels; nobody may forge the agent's own."""
    if not _LABEL_NAME.fullmatch(text):
        return "is not the name of a label: a-z, 0-9, '.', '_', '/', '-'"
    return "is reserved: p2pool.* labels are set by the agent" if text.startswith("p2pool") else ""


def gpu_model_rule(text: str) -> str:
    """Part of a GPU's model name."""
    if len(text) > limits.NAME_MAX_BYTES:
        return f"is longer than {limits.NAME_MAX_BYTES} characters"
    return "" if text == text.lower() else "must be in lower case"


def requirements_rule(text: str) -> str:
    """A pool's grammar (`codec.text.requirements`), of which nothing is passed over. Replicas judge
    a submission by it: a key or number that it takes later belongs to a later feature level."""
    if len(text) > limits.TASK_REQUIREMENTS_MAX_BYTES:
        return f"is longer than {limits.TASK_REQUIREMENTS_MAX_BYTES} characters"
    if wrong := refusals(text):
        return f"cannot be read: {', '.join(wrong)} (the keys: {', '.join(sorted(KEYS))})"
    asks = not text or task_requirements(text) != Requirements()
    return "" if asks else "asks for nothing: name a key, or leave it out"


def target_rule(text: str) -> str:
    """A directory inside the container that a mount may cover."""
    if wrong := _path(text):
        return wrong
    if text == "/":
        return "would cover the whole container"
    for place in FORBIDDEN_TARGETS:
        if text == place or text.startswith(place + "/"):
            return f"would cover {place}, which a container needs unchanged"
    return ""


def source_rule(text: str) -> str:
    """A volume's name, or an absolute path (for bind); which one is checked with the kind."""
    if not text:
        return ""
    return _path(text) if text.startswith("/") else name_rule(text)


def _path(text: str) -> str:
    """An absolute path that means what it says."""
    if "\0" in text or any(ord(character) < 32 for character in text):
        return "has control characters"
    if not text.startswith("/"):
        return "is not an absolute path"
    if text != "/" and any(part in ("", ".", "..") for part in text[1:].split("/")):
        return "is not a plain path: no '..', '.', '//' or '/' at the end"
    return "" if ":" not in text else "has a ':', which the engine takes for a separator"


def too_new(spec: TaskSpec, level: FeatureLevel) -> Iterator[str]:
    """What a pool of that level does not know yet, though it has its keys."""
    if level >= DISTRUST_LEVEL:
        return
    for name, _ in spec.environment:
        if not _FIRST_LEVEL_ENV_NAME.fullmatch(name):
            yield f"env.{name} needs feature level {DISTRUST_LEVEL}, and the pool is at {level}"


def too_small(spec: TaskSpec) -> Iterator[str]:
    """Sizes that nobody means. It is asked of what is submitted, never of what a state holds."""
    wanted, least = spec.resources, limits.SIZE_MIN_BYTES
    sizes = [
        ("resources.gpu.memory_min_bytes", wanted.gpu.memory_min_bytes, least),
        ("resources.disk_bytes", wanted.disk_bytes, least),
        ("resources.swap_bytes", wanted.swap_bytes, least),
        ("resources.shm_bytes", wanted.shm_bytes, limits.MEMORY_FILES_MIN_BYTES),
    ]
    for number, mount in enumerate(spec.mounts):
        in_memory = mount.kind is MountKind.TMPFS
        least = limits.MEMORY_FILES_MIN_BYTES if in_memory else limits.SIZE_MIN_BYTES
        sizes.append((f"mounts[{number}].size_bytes", mount.size_bytes, least))
    for path, count, least in sizes:
        if 0 < count < least:
            yield f"{path} is {count}: sizes are in bytes, {least} at least, or 0 for none"


def contradictions(spec: TaskSpec) -> Iterator[str]:
    """Contradictions between parts that are each good by themselves."""
    if spec.system and spec.replicas != 1:
        yield "replicas cannot be set with system: a system task has one on every node"
    if spec.system and spec.gang:
        yield "gang cannot be set with system: a system task grows with the pool"
    gpu = spec.resources.gpu
    if gpu.count == 0 and (gpu.model or gpu.memory_min_bytes):
        yield "resources.gpu.count is 0, but a GPU model or GPU memory is required"
    yield from _mount_contradictions(spec.mounts)
    ports = [(port.host, port.protocol) for port in spec.ports if port.host]
    if len(set(ports)) != len(ports):
        yield "ports name a host port twice"
    inside = [(port.container, port.protocol) for port in spec.ports]
    if len(set(inside)) != len(inside):
        yield "ports name a container port twice"


def _mount_contradictions(mounts: tuple[Mount, ...]) -> Iterator[str]:
    targets = [mount.target for mount in mounts]
    if len(set(targets)) != len(targets):
        yield "mounts name a target twice"
    # Tasks own what lies in a volume: a link there could lead a mount inside it astray.
    for number, target in enumerate(targets):
        if any(target.startswith(f"{other}/") for other in targets):
            yield f"mounts[{number}].target lies in another mount: give each its own place"
    for number, mount in enumerate(mounts):
        place = f"mounts[{number}]"
        if mount.kind is MountKind.BIND and not mount.source.startswith("/"):
            yield f"{place}.source must be an absolute path of the host for bind"
        elif mount.kind is MountKind.TMPFS and mount.source:
            yield f"{place}.source cannot be set for tmpfs"
        elif mount.kind in (MountKind.TASK, MountKind.POOL):
            if not mount.source:
                yield f"{place}.source is missing: the name of the volume"
            elif mount.source.startswith("/"):
                yield f"{place}.source is a path; a {mount.kind.value} volume has a name"
        if mount.kind is MountKind.BIND and not mount.read_only:
            yield f"{place}.read_only must be true: tasks never write to the host's directories"
        if mount.size_bytes and (mount.kind is MountKind.BIND or mount.read_only):
            yield f"{place}.size_bytes can only be set for mounts that the task can write to"
        if mount.keep_s != -1 and mount.kind is not MountKind.TASK:
            yield f"{place}.keep_s can only be set for task volumes"
