"""A development pool's chain: anvil, and the contracts on it."""
