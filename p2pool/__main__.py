"""`p2pool` and `python -m p2pool`: the command line, from the first moment on.

Whoever interrupts it while it is still being loaded sees no traceback. Names of files are UTF-8 for
databases, engines and configurations, so they have to be for Python, too: where the locale says
otherwise, the program begins anew in UTF-8, and writes to its terminal as the locale wants it.
"""

import os
import sys
from typing import NoReturn

INTERRUPTED = 130
UTF8 = "PYTHONUTF8"


def main() -> NoReturn:
    """Load the command line and run it."""
    try:
        if sys.getfilesystemencoding() != "utf-8" and os.environ.get(UTF8) != "1":
            _begin_in_utf8()
        from p2pool.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


def _begin_in_utf8() -> NoReturn:
    encoding = getattr(sys.stdout, "encoding", None)
    if encoding:
        os.environ.setdefault("PYTHONIOENCODING", encoding)
    os.environ[UTF8] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
