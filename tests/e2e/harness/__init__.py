"""What whole pools are driven with: actions, stand-ins for machines, a slow proxy."""
