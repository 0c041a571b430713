"""The helper image, which p2pool brings along: found in the package, and recognised on an engine.

Intuition: an image's identifier is the digest of its contents, so an engine that has ours is asked
for it by that, and a foreign image with the same name is never taken for it. An engine without
containerd's store names an image by its configuration, one with it by its manifest.

Invariants: nothing is pulled; what is not the bytes of the package's manifest is not loaded.
Source: `helper/build.py` writes `p2pool/images`; OCI image specification 1.1.
"""

import hashlib
import json
import lzma
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs

import p2pool
from p2pool.model.errors import Misconfigured

IMAGES = Path(p2pool.__file__).parent / "images"
MANIFEST = "manifest.json"
LABEL = "p2pool.helper"
"""On the image: its layer. On a container: its work."""


@attrs.frozen
class HelperImage:
    """The helper image for one architecture. `ids`: what engines may call it."""

    reference: str
    ids: tuple[str, str]
    layer: str
    sha256: str
    file: Path

    def archive(self) -> bytes:
        """The image as an engine loads it. Blocks for half a second. Misconfigured: the
        installation is broken."""
        try:
            data = lzma.decompress(self.file.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise _broken(self.file, str(error)) from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise _broken(self.file, "it is not what the manifest names")
        return data

    def is_it(self, record: Mapping[str, Any]) -> bool:
        """Whether an engine's inspection shows this image, and not another of its name."""
        if record.get("Id") in self.ids:
            return True
        # A store that converts what it loads has an identifier of its own, and the same layer.
        config = record.get("Config") or {}
        layers = (record.get("RootFS") or {}).get("Layers")
        told = ("Entrypoint", "Cmd", "Volumes", "OnBuild", "Healthcheck")
        if layers != [self.layer] or any(config.get(key) for key in told):
            return False
        # A variable such as LD_PRELOAD would load what a task planted in its volume.
        return all(one.startswith("PATH=") for one in config.get("Env") or ())


def helper_image(platform: str) -> HelperImage:
    """The helper image for an engine's platform, `linux/amd64`. Misconfigured: there is none."""
    images = _manifest(IMAGES / MANIFEST)
    system, _, architecture = platform.partition("/")
    facts = images.get(architecture) if system == "linux" else None
    if facts is None:
        there = " and ".join(f"linux/{name}" for name in images)
        raise Misconfigured(
            f"p2pool brings its helper image for {there}; this engine runs {platform}.",
            hint="Volumes, network rules and secrets need it: use another machine.",
        )
    return HelperImage(
        reference=facts["reference"],
        ids=(facts["config"], facts["manifest"]),
        layer=facts["layer"],
        sha256=facts["sha256"],
        file=IMAGES / f"helper-{architecture}.tar.xz",
    )


@cache
def _manifest(file: Path) -> Any:
    """What the manifest says, which stays as long as this program; read again where it could not
    be."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken(file, str(error)) from error


def _broken(file: Path, why: str) -> Misconfigured:
    return Misconfigured(
        f"The helper image in {file} cannot be read: {why}.", hint="Install p2pool again."
    )
