"""`python -m p2pool`: the command line."""

from p2pool.cli.main import main

if __name__ == "__main__":
    main()
