"""Images: found, pulled and kept."""
