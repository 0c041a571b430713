"""A pool of three agents of its own: its nodes get other keys, and in the end one goes for good."""

from tests.e2e.one_pool.conftest import pool_directory

__all__ = ["pool_directory"]
