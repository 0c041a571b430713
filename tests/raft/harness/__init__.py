"""Participants in virtual time, their disks, and the properties that must hold."""
