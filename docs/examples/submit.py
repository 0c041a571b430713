"""Run a task in a pool, and print its log until it ends.

    export P2POOL_KEY=key.json P2POOL_PASSPHRASE_FILE=passphrase
    python submit.py NAME AGENT... -- COMMAND...

AGENT is a URL or a data directory; several may be named, and any of them may die meanwhile. The
exit code is that of the task's first copy.
"""

import os
import sys
from pathlib import Path

from p2pool.client import Client, KeySigner, P2poolError


def main(words: list[str]) -> int:
    """What the words say."""
    cut = words.index("--")
    name, *agents = words[:cut]
    passphrase = Path(os.environ["P2POOL_PASSPHRASE_FILE"]).read_text().split("\n", 1)[0]
    client = Client(
        agents,
        signer=KeySigner.from_keystore(os.environ["P2POOL_KEY"], passphrase),
        delegation=os.environ.get("P2POOL_DELEGATION") or None,
        patience_s=60,
    )
    said = client.submit(
        {
            "name": name,
            "image": os.environ.get("IMAGE", "busybox"),
            "command": words[cut + 1 :],
            "resources": {"cpu_milli": 100, "memory_bytes": 64 * 2**20},
        }
    )
    print(f"{name} is task {said.task_id}", file=sys.stderr)
    for line in client.logs(said.task_id, follow=True):
        if line.after_gap:
            print("(lines may be missing here)", file=sys.stderr)
        print(line.text, flush=True)
    task = client.wait(said.task_id, until="ended")
    print(f"{name} {task.state}", file=sys.stderr)
    return task.allocations[0].exit_code or 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except P2poolError as error:
        sys.exit(f"{error.message} {error.hint}")
