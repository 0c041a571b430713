"""`p2pool agent init`: what it asks, the keys that it makes, the file that it writes."""
