"""Keys on the disk."""
