"""Envelopes, replay windows, bindings and typed data: what is verified, and what is refused."""
