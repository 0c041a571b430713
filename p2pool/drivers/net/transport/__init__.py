"""Frames over the library's muxer."""
