"""Where an account's key is, and who signs with it."""
