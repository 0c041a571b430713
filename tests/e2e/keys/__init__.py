"""Keys of nodes in a pool that runs are replaced."""
