"""What is between a socket and a frame."""
