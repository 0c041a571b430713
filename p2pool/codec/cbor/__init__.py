"""attrs classes as canonical bytes, and back."""
