"""The chain of a development pool: anvil, and the contracts on it."""
