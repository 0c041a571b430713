"""What is encrypted, and who can open it."""
