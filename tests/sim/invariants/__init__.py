"""What must hold after every step, and what a pool must come to in the end."""
