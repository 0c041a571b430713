"""Real hosts on loopback."""
