"""Writes entries for ever and prints the index of each one acknowledged; meant to be killed."""

import sys
from pathlib import Path

import trio

from p2pool.drivers.store import Store
from p2pool.model.ports.store import AppendEntries, Put
from tests.store.samples import POOL, entry


async def main() -> None:
    """Append from the first index that is not there yet, with a row that names it."""
    async with Store.open(Path(sys.argv[1]), POOL) as store:
        index = len(store.restored.entries)
        while True:
            index += 1
            batch = (AppendEntries((entry(index),)), Put("meta", b"last", b"%d" % index))
            await store.write(batch)
            sys.stdout.write(f"{index}\n")
            sys.stdout.flush()


trio.run(main)
