"""Between the network and the loop: what arrives is opened and judged, what leaves is sealed."""
