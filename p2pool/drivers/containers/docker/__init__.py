"""Tasks as containers of a Docker Engine."""
