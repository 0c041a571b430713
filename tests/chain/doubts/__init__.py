"""What makes the follower of a chain doubt it: its events, and its first block."""
