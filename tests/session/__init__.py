"""What a run of the tests as a whole must keep: its time, and the machine as it was."""
