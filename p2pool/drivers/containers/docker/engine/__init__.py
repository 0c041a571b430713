"""Communication with a Docker Engine."""
