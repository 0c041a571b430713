"""The commands below `p2pool pool`."""
