"""The agent with snapshots after a few entries: a short life then leaves a snapshot on its disk.

The limits change before anything of the program reads them; nothing else is different.
"""

from p2pool.model import limits

limits.SNAPSHOT_AFTER_ENTRIES = 30
limits.SNAPSHOT_KEEP_ENTRIES = 10
limits.LEARNER_CAUGHT_UP_ENTRIES = 5

if __name__ == "__main__":
    from p2pool.__main__ import main

    main()
