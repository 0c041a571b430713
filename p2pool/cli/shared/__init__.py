"""What several commands need: options, lookups, signing, output."""
