"""Follow a pool's events on trio, and go on where the last run stopped.

    python watch.py PLACE COUNT AGENT...

PLACE is a file that keeps the id of the last event that was dealt with: it is written after that,
so a crash repeats one event at most and loses none. COUNT: end after so many events; 0: never.
"""

import sys
from pathlib import Path

import trio

from p2pool.client import AsyncClient


async def main(place: Path, count: int, agents: list[str]) -> None:
    """Print events, one a line."""
    after = place.read_text().strip() if place.exists() else None
    client = AsyncClient(agents)
    async with client.events(after) as events:
        async for event in events:
            if event.is_gap:
                # What happened up to here is lost: see how the pool is now.
                tasks = await client.tasks()
                print(f"{event.id} {len(tasks)} tasks have not ended", flush=True)
            else:
                print(f"{event.id} {event.kind} {event.subject} {event.text}", flush=True)
            aside = place.with_suffix(".new")
            aside.write_text(event.id)
            aside.replace(place)
            count -= 1
            if not count:
                return


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
