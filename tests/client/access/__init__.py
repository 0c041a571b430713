"""Tests of the commands about tokens, and of commands with one."""
