"""`make docs`: rewrites the parts of `docs/` that are made from the code."""

import argparse

from tests.docs.generator.pages import write_all


def main() -> None:
    """Write them, and name those that differed."""
    argparse.ArgumentParser(prog="make docs", description=__doc__).parse_args()
    for name in write_all() or ["nothing differed"]:
        print(name)


if __name__ == "__main__":
    main()
