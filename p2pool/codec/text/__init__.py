"""Forms of one line."""
