"""Checks that need signatures alone: certificates, and the committees they name."""
