"""The replicated state as bytes: rows, which every later version reads, and what went before."""
