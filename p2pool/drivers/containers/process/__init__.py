"""Tasks as plain processes, for development pools without an engine."""
