"""The contract PoolRoot: what it lets write, and how the roster follows it."""
