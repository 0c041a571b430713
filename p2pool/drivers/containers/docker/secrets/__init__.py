"""Secrets of copies: where they lie, whose they are, and how they get there."""
