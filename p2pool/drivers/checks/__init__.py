"""Does this machine qualify: hardware, software, network and chain, looked at before joining."""
