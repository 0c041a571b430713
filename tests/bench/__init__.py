"""What should be fast, measured on a real pool against a peer in the same run: `make bench`."""
