"""Proofs that a stranger can check: who leads, which voters lied, and what validators found."""
