"""Who may have which key, and who holds which blob."""
