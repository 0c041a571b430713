"""The command line: quick help, exit codes, and errors that say what to do next."""
