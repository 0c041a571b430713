"""`python -m tests.docs`: rewrites the parts of `docs/` that are made from the code."""

from tests.docs.generator.pages import write_all

if __name__ == "__main__":
    for name in write_all() or ["nothing differed"]:
        print(name)
