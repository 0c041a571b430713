"""Drivers of the container runtimes: a Docker Engine, and local processes for development."""
