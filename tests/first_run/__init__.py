"""What a stranger meets on a machine that never ran p2pool."""
