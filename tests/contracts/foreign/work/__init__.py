"""Work on contracts that judge it."""
