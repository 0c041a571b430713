"""Signed messages to receivers that an operator names."""
