"""Random runs by seed, the planted bugs that they must find, and the simulator itself."""
