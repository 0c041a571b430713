"""Sends one signed message to one receiver, and says what became of it."""
