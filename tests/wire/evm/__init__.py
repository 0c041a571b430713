"""Tests of what an EVM chain takes."""
