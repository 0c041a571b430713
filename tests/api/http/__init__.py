"""Tests of the listening side: connections, heads, methods, negotiation."""
