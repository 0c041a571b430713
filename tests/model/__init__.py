"""The tables and bounds that everything else relies on."""
