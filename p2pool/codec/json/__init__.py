"""What clients send and are sent."""
