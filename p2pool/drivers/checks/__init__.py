"""Whether this machine qualifies: hardware, software, network and chain, checked before joining."""
