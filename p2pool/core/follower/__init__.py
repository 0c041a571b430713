"""What a node does that only follows: fetch the log, check it, heed its orders."""
