"""The host: what it keeps, and whom it lets in."""
