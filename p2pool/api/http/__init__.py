"""HTTP as this API speaks it; it knows no pool."""
