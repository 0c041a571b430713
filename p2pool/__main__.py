"""`p2pool` and `python -m p2pool`: the command line, from the first moment on.

Whoever interrupts it while it is still being loaded sees no traceback either.
"""

import sys
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Load the command line and run it."""
    try:
        from p2pool.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
