"""Starts the process that holds an unlocked key, and returns once it answers."""

import os
import subprocess
import sys
from contextlib import suppress

from p2pool.drivers.keys import key_client
from p2pool.drivers.keys.key_client import UnlockedKey
from p2pool.model.errors import Unavailable
from p2pool.wire.account import Account


def hold(account: Account, held: UnlockedKey, span_s: int) -> None:
    """Have a process of its own hold the key for so long; one that holds it already ends first.
    Raises `Unavailable` if it does not come up, `Misconfigured` if there is no place for it."""
    key_client.make_directory()
    held.lock()
    with suppress(FileNotFoundError):
        os.unlink(held.path)  # Of a process that was killed.
    module = f"{__package__}.key_server"
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(held.path), str(span_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if "PASSPHRASE" not in name},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with suppress(BrokenPipeError):
        process.stdin.write(account.key)
        process.stdin.close()
    if process.stdout.readline() != b"ready\n":
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        process.wait()
        raise Unavailable(f"The process that would hold the key ended: {(said or ['?'])[-1]}.")
    process.stdout.close()
    process.stderr.close()
    process.returncode = 0  # It goes on by itself: nobody waits for it.
