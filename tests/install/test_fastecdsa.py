"""Our wheel in place of fastecdsa gives libp2p what the original gave, from our own sources.

`fastecdsa.json` holds keys and shared secrets as fastecdsa 2.3.2, the original, computed them.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "packaging" / "fastecdsa"
WHEELS = ROOT / "packaging" / "wheels"
WHEEL = next(WHEELS.glob("fastecdsa-*.whl"))
VECTORS = Path(__file__).with_name("fastecdsa.json")

LIKE_THE_ORIGINAL = """
import json, sys
import fastecdsa
assert fastecdsa.__file__.startswith(sys.argv[1]), fastecdsa.__file__
from fastecdsa import curve, keys
from fastecdsa.encoding.sec1 import SEC1Encoder as Sec1

def shared(row):
    other = keys.get_public_key(int(row["with"]), curve.P256)
    return (other * int(row["private"])).x

told = json.load(open(sys.argv[2]))
for row in told["keys"]:
    key = int(row["private"])
    public = keys.get_public_key(key, curve.P256)
    assert keys.export_key(key, curve.P256, encoder=keys.PEMEncoder) == row["pem"]
    assert Sec1.encode_public_key(public).hex() == row["compressed"]
    assert Sec1.encode_public_key(public, compressed=False).hex() == row["uncompressed"]
    for form in ("compressed", "uncompressed"):
        assert Sec1.decode_public_key(bytes.fromhex(row[form]), curve.P256) == public
for row in told["shared"]:
    assert shared(row) == int(row["x"])
"""

AS_LIBP2P_USES_IT = """
import sys
import fastecdsa
assert fastecdsa.__file__.startswith(sys.argv[1]), fastecdsa.__file__
from libp2p.crypto.ecc import ECCPublicKey, create_new_key_pair
from libp2p.crypto.key_exchange import create_ephemeral_key_pair

pair = create_new_key_pair("P-256")
public = pair.public_key.to_bytes()
assert len(public) == 65
assert ECCPublicKey.from_bytes(public, "P-256").to_bytes() == public
assert pair.private_key.to_bytes().startswith(b"-----BEGIN EC PRIVATE KEY-----")
for bad in (b"", b"\\0", b"\\4" + bytes(64), b"\\2" + b"\\xff" * 32, public[:-1]):
    try:
        ECCPublicKey.from_bytes(bad, "P-256")
    except ValueError:
        continue
    raise AssertionError(bad)
(ours, agree), (theirs, agree_too) = (create_ephemeral_key_pair("P-256") for _ in range(2))
assert agree(theirs.to_bytes()) == agree_too(ours.to_bytes())
import libp2p.security.secio.transport
"""


def _with_our_wheel(script: str, *arguments: str) -> None:
    """Run a script that finds our wheel before whatever is installed."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(WHEEL), *arguments],
        env={**os.environ, "PYTHONPATH": str(WHEEL)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def _members(wheel: Path) -> dict[str, tuple[object, ...]]:
    """What is in a wheel, apart from how this machine's zlib compresses it."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            entry.filename: (entry.date_time, entry.external_attr, archive.read(entry))
            for entry in archive.infolist()
        }


def test_it_gives_what_the_original_gave() -> None:
    """Keys at both ends of the range, their texts and bytes, and what two keys agree on."""
    _with_our_wheel(LIKE_THE_ORIGINAL, str(VECTORS))


def test_libp2p_makes_and_exchanges_keys_with_it() -> None:
    """Everything that libp2p does with fastecdsa, and secio can be imported."""
    _with_our_wheel(AS_LIBP2P_USES_IT)


def test_the_wheel_holds_these_sources() -> None:
    """Whoever changes a source and not the wheel is told, without a network."""
    packed = _members(WHEEL)
    sources = {
        str(path.relative_to(SOURCES)): path.read_bytes()
        for path in sorted((SOURCES / "fastecdsa").rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {
        name: member[2] for name, member in packed.items() if ".dist-info/" not in name
    } == sources


def test_the_wheel_can_be_built_again(tmp_path: Path) -> None:
    """The command of its README makes the same wheel, to the last member and date."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(tmp_path),
            str(SOURCES),
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert _members(tmp_path / WHEEL.name) == _members(WHEEL)


def test_it_is_what_libp2p_asks_for() -> None:
    """Its version satisfies libp2p's pin, and sorts above the original that needs a compiler."""
    from importlib.metadata import requires

    pin = next(
        requirement
        for requirement in map(Requirement, requires("libp2p") or ())
        if requirement.name == "fastecdsa" and "win32" in str(requirement.marker)
    )
    _, version, _, _ = parse_wheel_filename(WHEEL.name)
    assert version in pin.specifier
    assert version > parse_wheel_filename("fastecdsa-2.3.2-py3-none-any.whl")[1]
