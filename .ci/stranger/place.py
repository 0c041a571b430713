"""The stranger's place: a home of their own, and an environment made from scratch."""

import os
import shutil
from pathlib import Path

KEPT = (
    # Facts about the machine.
    "PATH", "PYENV_ROOT", "TERM", "CI",
    # How package tools reach their registries from here.
    "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CAFILE", "NPM_CONFIG_REGISTRY", "npm_config_cafile",
    "npm_config_registry", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY",
)  # fmt: skip
MARK = "STRANGER"
"""The environment variable that marks the stranger's processes."""

COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "c89", "c99", "cpp", "tcc", "ld", "as", "rustc")


def environment(home: Path, mark: str) -> dict[str, str]:
    """The environment of a person new to this machine: an empty home, no caches, a locale."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if "NODE_EXTRA_CA_CERTS" in kept:
        kept.setdefault("NPM_CONFIG_CAFILE", kept["NODE_EXTRA_CA_CERTS"])
    temporary = home.parent / "tmp"
    for directory in (home, temporary):
        directory.mkdir(exist_ok=True)
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary), "LANG": "C.UTF-8", MARK: mark}


def without_compiler(directory: Path) -> str:
    """A PATH with every program of the system's directories except compilers and Pythons."""
    directory.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else ():
            link = directory / program.name
            if not _left_out(program.name) and not link.is_symlink():
                link.symlink_to(program)
    found = [name for name in COMPILERS if shutil.which(name, path=str(directory))]
    assert not found, found
    return str(directory)


def _left_out(name: str) -> bool:
    plain = name.rpartition("linux-gnu-")[2]
    return plain.startswith(("python", "pip")) or any(
        plain == compiler or plain.startswith(f"{compiler}-") for compiler in COMPILERS
    )
