"""The Docker Engine of a development pool: found, or started in a namespace of its own."""
