"""Builds the helper image from pinned Debian packages: the same bytes on every machine.

    python3 helper/build.py lock            # pin the mirror's newest versions in packages.json
    python3 helper/build.py build           # write p2pool/images from the packages that are pinned
    python3 helper/build.py build --check   # build again, and compare with what is there

Intuition: the image is small and ours, so that an agent brings it along and pulls nothing. Of each
package only the named files are taken, with its licence. Names, times, owners and order in every
archive are fixed, so whoever builds it again gets the digest of the manifest.

Invariants: nothing is used whose SHA-256 is not in packages.json; no file of the image is setuid.
Source: the image format of `docker save` (manifest.json) and of OCI (index.json), in one archive.
"""

import argparse
import fnmatch
import hashlib
import io
import json
import lzma
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
PINS = HERE / "packages.json"
IMAGES = HERE.parent / "p2pool" / "images"
MIRROR = "http://deb.debian.org"
SNAPSHOT = "https://snapshot.debian.org/package"
SUITES = (
    ("debian", "bookworm"),
    ("debian", "bookworm-updates"),
    ("debian-security", "bookworm-security"),
)
ARCHITECTURES = ("amd64", "arm64")
REPOSITORY = "p2pool-helper"
LABEL = "p2pool.helper"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

LIBRARY = ("lib/*/lib*.so.*", "usr/lib/*/lib*.so.*")
TAKEN: dict[str, tuple[str, ...]] = {
    # The programs: a shell with its small tools, GNU's for trees that are hostile, nft.
    "busybox-static": ("bin/busybox",),
    "coreutils": ("bin/rm", "usr/bin/du"),
    "findutils": ("usr/bin/find",),
    "nftables": ("usr/sbin/nft",),
    "tar": ("bin/tar",),
    # Their libraries.
    "libacl1": LIBRARY,
    "libbsd0": LIBRARY,
    "libc6": ("lib/*/libc.so.6", "lib/*/libm.so.6", "lib/*/ld-linux-*.so.*", "lib*/ld-linux-*"),
    "libedit2": LIBRARY,
    "libgmp10": LIBRARY,
    "libjansson4": LIBRARY,
    "libmd0": LIBRARY,
    "libmnl0": LIBRARY,
    "libnftables1": LIBRARY,
    "libnftnl11": LIBRARY,
    "libpcre2-8-0": LIBRARY,
    "libselinux1": LIBRARY,
    "libtinfo6": ("lib/*/libtinfo.so.*",),
    "libxtables12": ("usr/lib/*/libxtables.so.*",),
    # The texts of the licences that the packages' own files refer to.
    "base-files": ("usr/share/common-licenses/*",),
}
LICENCES = {
    "base-files": "GPL-2.0-or-later",
    "busybox-static": "GPL-2.0-only",
    "coreutils": "GPL-3.0-or-later",
    "findutils": "GPL-3.0-or-later",
    "libacl1": "LGPL-2.1-or-later",
    "libbsd0": "BSD-3-Clause and others",
    "libc6": "LGPL-2.1-or-later",
    "libedit2": "BSD-3-Clause",
    "libgmp10": "LGPL-3.0-or-later or GPL-2.0-or-later",
    "libjansson4": "MIT",
    "libmd0": "BSD-3-Clause and others",
    "libmnl0": "LGPL-2.1-or-later",
    "libnftables1": "GPL-2.0-only",
    "libnftnl11": "GPL-2.0-or-later",
    "libpcre2-8-0": "BSD-3-Clause",
    "libselinux1": "public domain",
    "libtinfo6": "X11",
    "libxtables12": "GPL-2.0-or-later",
    "nftables": "GPL-2.0-only",
    "tar": "GPL-3.0-or-later",
}
APPLETS = (
    "[", "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "dirname", "env",
    "expr", "false", "grep", "head", "id", "ip", "kill", "ln", "ls", "mkdir", "mktemp",
    "mv", "nc", "ping", "printf", "ps", "readlink", "rmdir", "sed", "sh", "sha256sum", "sleep",
    "sort", "stat", "sync", "tail", "tee", "test", "timeout", "touch", "tr", "true", "uniq",
    "wc", "wget", "xargs",
)  # fmt: skip
"""Busybox's programs with a name of their own. `find`, `rm` and `tar` are GNU's: for any depth."""
DIRECTORIES = ("dev", "etc", "proc", "run", "sys", "tmp")


class Failed(Exception):
    """The image cannot be built; the sentence says why."""


class Built(NamedTuple):
    """An image's archive, and what the manifest says of it."""

    archive: bytes
    facts: dict[str, Any]


# --- the packages -------------------------------------------------------------------------------


def lock() -> dict[str, dict[str, dict[str, str]]]:
    """The newest version of each package on the mirror, by architecture and name."""
    pins: dict[str, dict[str, dict[str, str]]] = {}
    for architecture in ARCHITECTURES:
        found: dict[str, dict[str, str]] = {}
        for archive, suite in SUITES:
            index = f"{MIRROR}/{archive}/dists/{suite}/main/binary-{architecture}/Packages.xz"
            for entry in _entries(lzma.decompress(_fetched(index)).decode()):
                name = entry["Package"]
                if name in TAKEN and _is_newer(entry["Version"], found.get(name)):
                    found[name] = {
                        "version": entry["Version"],
                        "source": _source(entry),
                        "file": f"{archive}/{entry['Filename']}",
                        "sha256": entry["SHA256"],
                    }
        if missing := sorted(set(TAKEN) - set(found)):
            raise Failed(f"The mirror has no {', '.join(missing)} for {architecture}.")
        pins[architecture] = dict(sorted(found.items()))
    return pins


def _entries(text: str) -> Iterator[dict[str, str]]:
    for paragraph in text.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.split("\n") if line[:1].strip())
        entry = {key: value for key, _, value in lines}
        if entry:
            yield entry


def _is_newer(version: str, known: dict[str, str] | None) -> bool:
    if known is None:
        return True
    asked = ["dpkg", "--compare-versions", version, "gt", known["version"]]
    return subprocess.run(asked).returncode == 0


def _source(entry: dict[str, str]) -> str:
    """Where a package's source is: its name and version."""
    name, _, version = entry.get("Source", entry["Package"]).partition(" ")
    return f"{SNAPSHOT}/{name}/{version.strip('()') or entry['Version']}/"


def _fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            data: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise Failed(f"{url} cannot be fetched: {error}.") from error
    return data


def package(pin: dict[str, str], cache: Path | None) -> bytes:
    """A pinned package's file, from the mirror or from a directory of files by digest."""
    kept = cache / f"{pin['sha256']}.deb" if cache else None
    if kept is not None and kept.exists():
        data = kept.read_bytes()
    else:
        data = _fetched(f"{MIRROR}/{pin['file']}")
    if hashlib.sha256(data).hexdigest() != pin["sha256"]:
        raise Failed(f"{pin['file']} is not the file that packages.json pins.")
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
    return data


def contents(deb: bytes) -> tarfile.TarFile:
    """The files in a Debian package: an `ar` archive with a tar archive in it."""
    at = 8
    while at < len(deb):
        name = deb[at : at + 16].decode("ascii").strip().rstrip("/")
        size = int(deb[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=io.BytesIO(deb[at + 60 : at + 60 + size]), mode="r:*")
        at += 60 + size + size % 2
    raise Failed("A package has no data.tar.")


# --- the image ----------------------------------------------------------------------------------


def layer(pins: dict[str, dict[str, str]], cache: Path | None) -> bytes:
    """The image's only layer: the files that are taken, and links for busybox's programs."""
    files: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for name, pin in pins.items():
        wanted = (*TAKEN[name], f"usr/share/doc/{name}/copyright")
        with contents(package(pin, cache)) as archive:
            taken = _taken(archive, wanted)
        if not any(not path.startswith("usr/share/doc/") for path in taken):
            raise Failed(f"Nothing was taken from {name}.")
        files |= taken
    for applet in APPLETS:
        files[f"bin/{applet}"] = (_info(f"bin/{applet}", tarfile.SYMTYPE, 0o777, "busybox"), b"")
    parents = {str(one) for path in files for one in Path(path).parents if str(one) != "."}
    for path in {*DIRECTORIES, *parents}:
        files[path] = (_info(path, tarfile.DIRTYPE, 0o755), b"")
    return _tar(files[path] for path in sorted(files))


def _taken(
    archive: tarfile.TarFile, wanted: tuple[str, ...]
) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found = {}
    for member in archive:
        path = member.name.removeprefix("./")
        if not any(fnmatch.fnmatch(path, pattern) for pattern in wanted):
            continue
        if member.issym():
            found[path] = (_info(path, tarfile.SYMTYPE, 0o777, member.linkname), b"")
        elif member.isfile():
            file = archive.extractfile(member)
            assert file is not None
            mode = 0o755 if member.mode & 0o100 else 0o644
            found[path] = (_info(path, tarfile.REGTYPE, mode), file.read())
    return found


def _info(path: str, kind: bytes, mode: int, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


def _tar(files: Iterator[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An archive without times and owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in files:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def image(architecture: str, pins: dict[str, dict[str, str]], cache: Path | None) -> Built:
    """One architecture's image, readable by engines with and without containerd's store."""
    inside = layer(pins, cache)
    diff_id = _digest(inside)
    config = _json(
        {
            "architecture": architecture,
            "config": {"Env": [f"PATH={PATH}"], "Labels": {LABEL: diff_id}},
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "helper/build.py"}],
            "os": "linux",
            "rootfs": {"diff_ids": [diff_id], "type": "layers"},
        }
    )
    reference = f"{REPOSITORY}:{_digest(config)[7:19]}"
    kind = "application/vnd.oci.image"
    manifest = _json(
        {
            "config": _descriptor(f"{kind}.config.v1+json", config),
            "layers": [_descriptor(f"{kind}.layer.v1.tar", inside)],
            "mediaType": f"{kind}.manifest.v1+json",
            "schemaVersion": 2,
        }
    )
    named = {
        "io.containerd.image.name": f"docker.io/library/{reference}",
        "org.opencontainers.image.ref.name": reference.partition(":")[2],
    }
    described = _descriptor(f"{kind}.manifest.v1+json", manifest) | {"annotations": named}
    index = {"manifests": [described], "mediaType": f"{kind}.index.v1+json", "schemaVersion": 2}
    blobs = {_blob(data): data for data in (inside, config, manifest)}
    saved = {"Config": _blob(config), "Layers": [_blob(inside)], "RepoTags": [reference]}
    files = blobs | {
        "index.json": _json(index),
        "manifest.json": _json([saved]),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
    }
    archive = _tar(
        (_info(path, tarfile.REGTYPE, 0o644), files[path])
        for path in sorted(files, key=lambda path: (path.startswith("blobs/"), path))
    )
    facts = {
        "reference": reference,
        "config": _digest(config),
        "manifest": _digest(manifest),
        "layer": diff_id,
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size_bytes": len(archive),
        "packages": [
            {"name": name, "licence": LICENCES[name]}
            | {key: pin[key] for key in ("version", "source", "sha256")}
            for name, pin in pins.items()
        ],
    }
    return Built(archive, facts)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"digest": _digest(data), "mediaType": kind, "size": len(data)}


# --- the files ----------------------------------------------------------------------------------


def licences(facts: dict[str, dict[str, Any]]) -> str:
    """The text beside the images: what is in them, its licences, its sources."""
    lines = [
        "The helper image holds files of these Debian packages, unchanged. Their full licences",
        "are in the image: /usr/share/doc/PACKAGE/copyright and /usr/share/common-licenses. The",
        "source of each is at the address below it. The recipe, helper/build.py, is in p2pool's",
        "repository and source archive.",
    ]
    for architecture, one in facts.items():
        lines += ["", f"{one['reference']} (linux/{architecture})", ""]
        lines += [
            f"  {p['name']} {p['version']}: {p['licence']}\n    {p['source']}"
            for p in one["packages"]
        ]
    return "\n".join(lines) + "\n"


def file_name(architecture: str) -> str:
    """The name of an architecture's archive in the package."""
    return f"helper-{architecture}.tar.xz"


def build(cache: Path | None, *, check: bool) -> None:
    """Build all architectures, and write them or compare them."""
    pins = json.loads(PINS.read_text())
    images = {name: image(name, pins[name], cache) for name in ARCHITECTURES}
    facts = {name: built.facts for name, built in images.items()}
    texts = {
        "manifest.json": json.dumps(facts, indent=1) + "\n",
        "LICENCES": licences(facts),
    }
    if check:
        wrong = [n for n, text in texts.items() if (IMAGES / n).read_text() != text]
        for name, built in images.items():
            if lzma.decompress((IMAGES / file_name(name)).read_bytes()) != built.archive:
                wrong.append(file_name(name))
        if wrong:
            raise Failed(f"Built again, these differ: {', '.join(wrong)}.")
        return
    IMAGES.mkdir(exist_ok=True)
    for name, text in texts.items():
        (IMAGES / name).write_text(text)
    for name, built in images.items():
        packed = lzma.compress(built.archive, preset=9 | lzma.PRESET_EXTREME)
        (IMAGES / file_name(name)).write_bytes(packed)
        print(f"{built.facts['reference']} {name}: {len(packed)} of {len(built.archive)} bytes")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("command", choices=("lock", "build"))
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--cache", type=Path, help="a directory that keeps the packages")
    given = parser.parse_args()
    try:
        if given.command == "lock":
            PINS.write_text(json.dumps(lock(), indent=1) + "\n")
        else:
            build(given.cache, check=given.check)
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
