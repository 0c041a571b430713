"""Tests of `p2pool.validator.judging`."""
