"""Texts of one line: peer ids, data URIs, requirements, metrics."""
