"""Classes of attrs as canonical bytes, and back."""
