"""Tests of what the API streams."""
