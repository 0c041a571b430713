"""Secrets of copies on a real engine."""
