"""People who never ran p2pool: an environment with nothing in it, and processes that end.

What a test leaves out of the environment is not there. What this machine needs to reach package
registries at all (certificates, proxies) is everybody's.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import psutil

DEADLINE_S = 120
MARK = "P2POOL_TEST_STRANGER"
NEEDED_HERE = (
    "PIP_",
    "NODE_EXTRA",
    "SSL_CERT",
    "REQUESTS_CA",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
# Everything may be read as before, for interpreters lie in homes; nothing may be written.
UNPRIVILEGED = (
    "--clear-groups",
    "--inh-caps",
    "-all,+dac_read_search",
    "--ambient-caps",
    "-all,+dac_read_search",
    "--bounding-set",
    "-all,+dac_read_search",
)
Completed = subprocess.CompletedProcess[str]


@attrs.define
class Stranger:
    """Somebody with an empty home. `user` 0: root; else a user id without rights."""

    home: Path
    user: int = 0
    environment: dict[str, str] = attrs.field(factory=dict)
    prefix: tuple[str, ...] = ()

    def variables(self, **more: str | None) -> dict[str, str]:
        """The whole environment; None takes a variable out."""
        kept = {k: v for k, v in os.environ.items() if k.startswith(NEEDED_HERE)}
        kept |= {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.temporary)}
        kept[MARK] = str(self.home)
        changed = {**kept, **self.environment, **more}
        return {k: v for k, v in changed.items() if v is not None}

    @property
    def temporary(self) -> Path:
        """The place for temporary files, to be empty in the end."""
        return self.home / "tmp"

    def command(self, *arguments: str) -> list[str]:
        """The command line, as this user."""
        command = [*self.prefix, sys.executable, "-m", "p2pool", *arguments]
        if self.user:
            user = str(self.user)
            return ["setpriv", "--reuid", user, "--regid", user, *UNPRIVILEGED, *command]
        return command

    def run(self, *arguments: str, **variables: str | None) -> Completed:
        """Run it to its end. A sentence or a result, never a traceback."""
        done = self.run_any(self.command(*arguments), **variables)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def run_any(self, command: Sequence[str], **variables: str | None) -> Completed:
        """Run any command in this environment."""
        return subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            env=self.variables(**variables),
            check=False,
            cwd=self.home,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        )

    @contextmanager
    def started(self, *arguments: str, **variables: str | None) -> Iterator["Started"]:
        """Run it in the background; killed in the end with all that it started."""
        log = self.home / "said"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.variables(**variables),
                cwd=self.home,
            )
        running = Started(process, log)
        try:
            yield running
        finally:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                process.kill()
                process.wait()

    def left(self, told: str = "") -> list[str]:
        """What is left of all that this stranger did: processes and temporary files. Logs that
        were kept are no leftover if they were told of."""
        found = [
            str(path)
            for path in self.temporary.iterdir()
            if not (path.name.startswith("p2pool-logs-") and str(path) in told)
        ]
        return [*found, *(" ".join(process.cmdline()) for process in self.processes())]

    def processes(self) -> list[psutil.Process]:
        """Whatever this stranger started and is still there."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                whose = process.environ().get(MARK)
                if whose == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@attrs.define
class Started:
    """A command that runs."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_bytes().decode(errors="replace")

    def wait_said(self, words: str) -> None:
        """Until it has said this."""
        end = time.monotonic() + DEADLINE_S
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def ended(self, number: int = signal.SIGINT) -> int:
        """Send a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


def latin1(place: Path) -> dict[str, str]:
    """The environment of a machine in Latin-1, compiled where the system has the sources."""
    name = "de_DE.ISO-8859-1"
    if shutil.which("localedef"):
        command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(place / name)]
        subprocess.run(command, check=False, capture_output=True)
    return {"LC_ALL": name, "LOCPATH": str(place)}
