"""What is tested of the local API."""
