"""The store: what it acknowledged survives, and what it cannot keep it refuses to promise."""
