"""Tests of tokens: what each opens, and when it ends."""
