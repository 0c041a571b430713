"""What the documents say of the code is so, and their generated parts are what the code says."""
