"""What the API answers about the machine of one agent: its volumes, and its container engine."""

import attrs


@attrs.frozen
class Volume:
    """A directory that tasks keep data in, on this machine; times are 0 for never."""

    id: str
    kind: str
    name: str
    allocation: str | None
    used_bytes: int
    quota_bytes: int
    keep_s: int
    made_at_ms: int
    used_at_ms: int
    ended_at_ms: int
    in_use: bool


@attrs.frozen
class VolumesAnswer:
    """Answer of `/v1/volumes`: of this machine alone, so that no view stands behind it."""

    volumes: tuple[Volume, ...]


@attrs.frozen
class Removed:
    """It is gone."""

    id: str


@attrs.frozen
class Lack:
    """Something that tasks may ask for and do not get here, and why."""

    feature: str
    reason: str


@attrs.frozen
class Runtime:
    """What runs containers here."""

    kind: str
    version: str
    api_version: str
    gpu_support: bool
    operating_system: str
    architecture: str
    storage_driver: str
    cgroup_version: str
    warnings: tuple[str, ...]
    unsupported: tuple[Lack, ...]
