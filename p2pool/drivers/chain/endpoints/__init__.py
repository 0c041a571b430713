"""One RPC endpoint: how it is asked, how it fails, and when it wants to be left alone."""
