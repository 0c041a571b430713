"""What a validator decided, kept on disk: no restart loses an act, and none doubles it."""
