"""The helper image in the package: what its manifest says is what is there, and nothing else."""

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.drivers.containers.docker.images.helper_image import IMAGES, MANIFEST, helper_image
from p2pool.model.errors import Misconfigured

RECIPE = Path(__file__).resolve().parents[2] / "helper"
PLATFORMS = ("linux/amd64", "linux/arm64")


def facts(platform: str) -> dict[str, Any]:
    """What the manifest says of an image."""
    found = json.loads((IMAGES / "manifest.json").read_text())[platform.partition("/")[2]]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_manifest_is_of_the_file(platform: str) -> None:
    """Digests of archive, configuration, manifest and layer are those of the bytes, and the name
    is made of them."""
    wanted, told = helper_image(platform), facts(platform)
    archive = wanted.archive()
    blobs = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            blobs[member.name] = file.read()
    for key in ("config", "manifest", "layer"):
        data = blobs[told[key].replace("sha256:", "blobs/sha256/")]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == told[key]
    (saved,) = json.loads(blobs["manifest.json"])
    assert saved["RepoTags"] == [wanted.reference] == [f"p2pool-helper:{told['config'][7:19]}"]
    config = json.loads(blobs[saved["Config"]])
    assert platform == f"{config['os']}/{config['architecture']}"
    assert config["rootfs"]["diff_ids"] == [wanted.layer]
    with tarfile.open(fileobj=io.BytesIO(blobs[saved["Layers"][0]])) as layer:
        members = {member.name: member for member in layer}
    for path in (
        "bin/busybox",
        "bin/sh",
        "bin/tar",
        "bin/rm",
        "usr/bin/du",
        "usr/bin/find",
        "usr/sbin/nft",
    ):
        assert path in members
    assert members["bin/tar"].isfile(), "busybox's tar stands in for GNU's"
    assert not [name for name, one in members.items() if one.mode & 0o6000 or one.uid or one.mtime]
    for one in told["packages"]:
        assert f"usr/share/doc/{one['name']}/copyright" in members


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_packages_are_those_of_the_recipe(platform: str) -> None:
    """Whoever looks for the source of a program finds its package, version, licence and place."""
    pins = json.loads((RECIPE / "packages.json").read_text())[platform.partition("/")[2]]
    told = {one["name"]: one for one in facts(platform)["packages"]}
    text = (IMAGES / "LICENCES").read_text()
    assert set(told) == set(pins)
    for name, pin in pins.items():
        assert {key: told[name][key] for key in ("version", "source", "sha256")} == {
            key: pin[key] for key in ("version", "source", "sha256")
        }
        assert f"  {name} {pin['version']}: {told[name]['licence']}\n    {pin['source']}" in text


def test_a_broken_file_is_not_loaded(tmp_path: Path) -> None:
    """A file that is cut, or another file in its place, is refused with what to do."""
    whole = helper_image("linux/amd64")
    cut = tmp_path / "cut"
    cut.write_bytes(whole.file.read_bytes()[:-100])
    for file in (cut, helper_image("linux/arm64").file, tmp_path / "none"):
        with pytest.raises(Misconfigured, match="cannot be read") as refused:
            attrs.evolve(whole, file=file).archive()
        assert "Install p2pool again" in str(refused.value)


@pytest.mark.parametrize("platform", ["linux/arm", "linux/riscv64", "windows/amd64"])
def test_another_processor_is_told_so(platform: str) -> None:
    """There is no image for it, and the error names those that there are."""
    with pytest.raises(Misconfigured, match=re.escape(f"this engine runs {platform}")) as refused:
        helper_image(platform)
    assert "linux/amd64 and linux/arm64" in str(refused.value)


def test_what_an_engine_shows_is_ours_or_not() -> None:
    """By its identifier; or, under a foreign identifier, by its layer and nothing that runs by
    itself."""
    wanted = helper_image("linux/amd64")
    assert all(wanted.is_it({"Id": one}) for one in wanted.ids)
    assert not wanted.is_it({"Id": "sha256:00", "RepoTags": [wanted.reference]})
    ours = {"Id": "sha256:00", "RootFS": {"Layers": [wanted.layer]}, "Config": {}}
    assert wanted.is_it(ours)
    assert not wanted.is_it(ours | {"RootFS": {"Layers": [wanted.layer, "sha256:11"]}})
    for key in ("Entrypoint", "Volumes", "OnBuild"):
        assert not wanted.is_it(ours | {"Config": {key: ["x"]}})


def test_the_manifest_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However often an engine's helper is asked for; one that could not be read is tried again."""
    copied = tmp_path / MANIFEST
    monkeypatch.setattr("p2pool.drivers.containers.docker.images.helper_image.IMAGES", tmp_path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        helper_image("linux/amd64")
    copied.write_bytes((IMAGES / MANIFEST).read_bytes())
    first = helper_image("linux/amd64")
    copied.unlink()
    assert helper_image("linux/amd64") == first
