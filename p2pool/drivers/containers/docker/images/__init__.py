"""How images are found, pulled and kept."""
