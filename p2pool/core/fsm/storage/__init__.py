"""The replicated state as bytes: rows, which every later version reads, and 0.1.0's array."""
