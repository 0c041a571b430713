"""What commands meet around them: directories, variables, streams, and servers that are none."""
