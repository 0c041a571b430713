"""Tests of what commands read from streams."""
