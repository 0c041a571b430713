"""The store: what a node must not forget, durable in one SQLite database under its directory."""

from p2pool.drivers.store.datadir import DataDirLock, prepare_directory
from p2pool.drivers.store.store import DATABASE_NAME, Store

__all__ = ["DATABASE_NAME", "DataDirLock", "Store", "prepare_directory"]
