"""What a participant takes into its log, and what it refuses."""
