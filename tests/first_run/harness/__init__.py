"""Strangers with empty homes, and a watch over what they call in threads."""
