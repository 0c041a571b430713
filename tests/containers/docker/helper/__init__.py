"""Work in helper containers, on a real engine."""
