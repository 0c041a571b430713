"""What is released installs with the very files that requirements.lock names, and no others."""

import hashlib
import importlib.metadata
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping

import attrs
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.install.checkout import ROOT, Checkout, put_wheel

LOCK = (ROOT / "requirements.lock").read_text()
SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
MACHINES = [(v, m) for v in ("3.11", "3.12", "3.13") for m in ("x86_64", "aarch64")]


@attrs.frozen
class Locked:
    """A line of the lock: one version, and the hashes of its files."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def version(self) -> Version:
        """The only one."""
        (pin,) = self.requirement.specifier
        assert pin.operator == "==", self.requirement
        return Version(pin.version)


def entries() -> Iterator[Locked]:
    """All of it; every line is a comment, our own wheels, or a package with hashes."""
    text = re.sub(r"^ *#.*\n", "", LOCK, flags=re.M).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        if line == "--find-links packaging/wheels":
            continue
        head, *_ = line.partition("--hash")
        yield Locked(Requirement(head), frozenset(SHA256.findall(line)))


def of_this() -> dict[str, str]:
    """The same of this machine."""
    return {name: str(value) for name, value in default_environment().items()}


def machine(version: str, architecture: str) -> dict[str, str]:
    """What markers ask of a Linux machine."""
    here = of_this()
    here["python_version"], here["python_full_version"] = version, f"{version}.1"
    here["implementation_version"], here["platform_machine"] = f"{version}.1", architecture
    return here


def locked_for(here: dict[str, str]) -> Mapping[str, Locked]:
    """What a machine gets, by name."""
    fits = [e for e in entries() if e.requirement.marker is None or _fits(e.requirement, here)]
    names = [canonicalize_name(one.requirement.name) for one in fits]
    assert len(names) == len(set(names))
    return dict(zip(names, fits, strict=True))


def _fits(one: Requirement, here: dict[str, str], extra: str = "") -> bool:
    return one.marker is None or one.marker.evaluate({**here, "extra": extra})


def needs(distribution: importlib.metadata.Distribution, extras: set[str]) -> list[Requirement]:
    """What a distribution that is installed here requires, as it says itself."""
    found = []
    for line in distribution.requires or []:
        one = Requirement(line)
        if any(_fits(one, of_this(), extra) for extra in {"", *extras}):
            found.append(one)
    return found


@pytest.mark.parametrize(("version", "architecture"), MACHINES)
def test_it_has_all_that_p2pool_requires(version: str, architecture: str) -> None:
    """On each machine that it is for, in a version that pyproject.toml takes."""
    locked = locked_for(machine(version, architecture))
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)].version), line


def test_it_has_all_that_those_require() -> None:
    """As the packages say that are installed here, as far as they are those of the lock: nothing
    would be fetched without its hash."""
    locked = locked_for(of_this())
    asked = 0
    for name, one in locked.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if Version(distribution.version) != one.version:
            continue
        for wanted in needs(distribution, set(one.requirement.extras)):
            found = locked[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(found.version, prereleases=True), (name, wanted)
            asked += 1
    assert asked > 50


def test_every_file_has_its_hash() -> None:
    """Each line is one version with SHA-256 sums, and our own wheels are among them."""
    every = list(entries())
    assert len(every) > 100
    for one in every:
        assert one.hashes, one.requirement
        assert one.version
    sums = frozenset[str]().union(*(one.hashes for one in every))
    for wheel in (ROOT / "packaging" / "wheels").glob("*.whl"):
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() in sums, wheel.name


def test_an_installation_takes_what_is_locked(begun: Checkout) -> None:
    """By the lines of the lock itself; a changed lock is installed again."""
    lock = begun.path / "requirements.lock"
    lock.write_text(only("varint"))
    made = begun.make("setup")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "--require-hashes -r requirements.lock" in (begun.venv / "install.log").read_text()
    assert begun.make("setup").stdout == ""
    lock.write_text(only("varint", "python-baseconv"))
    assert begun.make("setup").returncode == 0
    assert "python_baseconv" in begun.packages()


def test_a_file_that_was_changed_is_not_installed(begun: Checkout) -> None:
    """Same name, same version, another content: the sentence names it, and nothing of it is run."""
    (begun.path / "requirements.lock").write_text(only("varint"))
    wheels = begun.path / "packaging" / "wheels"
    changed = put_wheel(wheels, "varint", {"varint.py": b"raise SystemExit('stolen')\n"})
    shutil.move(changed, wheels / "varint-1.0.2-py3-none-any.whl")
    done = begun.make("setup")
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    assert "varint==1.0.2 is not the file that is expected" in told
    assert "somebody has changed it" in told
    assert "varint" not in begun.packages()


def test_a_machine_that_it_is_not_for_is_told(begun: Checkout) -> None:
    """What its registry has is installed then, and nobody takes it for what was locked."""
    (begun.path / "requirements.lock").write_text(only("varint"))
    script = begun.path / "packaging" / "install.py"
    script.write_text(script.read_text().replace('"x86_64", "aarch64"', '"riscv64", "s390x"'))
    made = begun.make("setup")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "requirements.lock is not used: it is for Linux on riscv64 and s390x" in made.stdout
    assert "varint" in begun.packages()


def only(*names: str) -> str:
    """The lock's own lines for these."""
    blocks = re.findall(r"^(([a-z0-9-]+)==[^\n]*\\\n(?:    --hash[^\n]*\n)+)", LOCK, re.M)
    found = [block for block, name in blocks if name in names]
    assert len(found) == len(names)
    return "--find-links packaging/wheels\n" + "".join(found)
