"""Sign with a key that this program never has: another process keeps it, as a KMS or an HSM does.

    python kms.py AGENT NAME SIGNER...

SIGNER is a command that reads typed data (EIP-712, JSON) on its standard input and writes a
signature in hex. It sees what it signs, and may refuse. On trio such a signer is an async function.
"""

import json
import subprocess
import sys

import trio

from p2pool.client import AsyncClient, TypedData


async def main(agent: str, name: str, signer: list[str]) -> None:
    """Run a task that does nothing."""

    async def sign(typed_data: TypedData) -> str:
        asked = json.dumps(typed_data).encode()
        done = await trio.run_process(signer, stdin=asked, capture_stdout=True)
        return done.stdout.decode().strip()

    client = AsyncClient(agent, signer=sign)
    said = await client.submit(
        {
            "name": name,
            "image": "busybox",
            "command": ["true"],
            "resources": {"cpu_milli": 100, "memory_bytes": 64 * 2**20},
        }
    )
    print((await client.wait(said.task_id, until="ended")).state)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
    except subprocess.CalledProcessError:
        sys.exit("The signer refused.")
