"""What the worker's effects do to the container engine, and what becomes of it."""
