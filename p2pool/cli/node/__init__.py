"""The commands below `p2pool node`."""
