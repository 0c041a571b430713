"""Measures one challenge of the reference prover on both sides, and writes what it costs."""
