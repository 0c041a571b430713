"""The parts of `docs/` that are made from the code, and tests that they are what the code says.

`make docs` rewrites them (`python -m tests.docs`). A page is prose with marked parts:

    <!-- generated: messages -->
    ...
    <!-- end: messages -->

`pages` says which function makes which part of which page; `vectors` makes `docs/vectors/*.json`
from the golden bytes. This lives beside the tests because the examples in the vectors are theirs.
"""
