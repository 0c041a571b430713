"""What the Docker runtime alone promises."""
