"""The agent around the core."""
